//! Probes, explains, applies and restores what the kernel is set to.
