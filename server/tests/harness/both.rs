//! A server of this process, asked the same over HTTP/1.1 and HTTP/2.

use std::net::SocketAddr;

use ringway::{Handler, Scheme, Server, ServerHandle};

use super::client::Client;
use super::h2::H2;

/// A server that ends with this.
pub struct Both {
    running: Option<ServerHandle>,
    pub address: SocketAddr,
}

/// What came back, the same of either protocol.
#[derive(Debug, Clone)]
pub struct Answer {
    pub over: &'static str,
    pub status: u16,
    /// Names in lower case, without what only frames the message.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Answer {
    /// The values of a field's lines, in order.
    pub fn field(&self, name: &str) -> Option<String> {
        let values = self.fields.iter().filter(|(other, _)| other == name);
        let values: Vec<_> = values.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Both {
    pub fn new(app: impl Handler) -> Self {
        let running = Server::new(app).workers(1).http("127.0.0.1:0").start().unwrap();
        let address = running.local_addr(Scheme::Http).unwrap();
        Self { running: Some(running), address }
    }

    /// Asks over HTTP/1.1 and over HTTP/2, on connections of their own.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> [Answer; 2] {
        [self.h1(method, path, fields, body), self.h2(method, path, fields, body)]
    }

    pub fn get(&self, path: &str) -> [Answer; 2] {
        self.ask("GET", path, &[], b"")
    }

    pub fn h1(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut lines = String::new();
        for (name, value) in fields {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            lines.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        let response = Client::connect(self.address).request(method, path, &lines, body);
        let lower = |(name, value): (String, String)| (name.to_ascii_lowercase(), value);
        Answer {
            over: "HTTP/1.1",
            status: response.status,
            fields: kept(response.fields.into_iter().map(lower)),
            body: response.body,
            trailers: response.trailers.into_iter().map(lower).collect(),
        }
    }

    pub fn h2(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut client = H2::connect(self.address);
        let id = client.ask(method, path, fields, body);
        let stream = client.answer(id);
        Answer {
            over: "HTTP/2",
            status: stream.status(),
            fields: kept(stream.head().unwrap().iter().cloned()),
            trailers: stream.trailers().cloned().unwrap_or_default(),
            body: stream.body,
        }
    }
}

fn kept(fields: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let frames = ["connection", "transfer-encoding", "date", "server", "alt-svc"];
    let kept =
        |(name, _): &(String, String)| !name.starts_with(':') && !frames.contains(&name.as_str());
    fields.filter(kept).collect()
}

impl Drop for Both {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
            let ended = running.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}
