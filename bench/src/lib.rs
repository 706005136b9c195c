//! Shared pieces of ringway's benchmarks.
