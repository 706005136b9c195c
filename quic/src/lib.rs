//! Sans-I/O QUIC endpoint and HTTP/3 over quiche's transport.
