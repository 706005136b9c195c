//! Hand-tuned, sans-I/O codecs for HTTP/1.1, HTTP/2 and HTTP/3.
