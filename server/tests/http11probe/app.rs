//! The application that the suite expects to find, made with the public API: `/` answers GET with
//! "OK", a file, and POST with the body; `/echo` gives back the fields, `/cookie` the cookies.

use std::path::PathBuf;

use ringway::{Files, Request, Response, Router, Server};

use crate::harness::process::Process;

/// Where the directory with `index.html` is.
const DIRECTORY: &str = "RINGWAY_TEST_PROBED";

#[test]
#[ignore = "not a test: the server that the cases are sent to"]
fn serve() {
    let directory: PathBuf = std::env::var_os(DIRECTORY).expect("started by `start`").into();
    let router = Router::new()
        .get("/", Files::new(directory))
        .post("/", |request: &Request<'_>| Response::text(request.body().to_vec()))
        .any("/echo", echo)
        .get("/cookie", cookies);
    Server::new(router).http("127.0.0.1:0").workers(1).run().unwrap();
}

/// The server, in a process of its own.
pub fn start(directory: &std::path::Path) -> Process {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["app::serve", "--exact", "--ignored", "--nocapture"]);
    Process::start(command.env(DIRECTORY, directory))
}

fn echo(request: &Request<'_>) -> Response {
    let mut lines = Vec::new();
    for (name, value) in request.headers() {
        lines.extend_from_slice(&[name, b": ", value, b"\n"].concat());
    }
    Response::text(lines)
}

/// One line for each pair.
fn cookies(request: &Request<'_>) -> Response {
    let fields = request.headers().filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie"));
    let pairs = fields.flat_map(|(_, value)| value.split(|&b| b == b';').map(<[u8]>::trim_ascii));
    Response::text(pairs.flat_map(|pair| [pair, b"\n"].concat()).collect::<Vec<u8>>())
}
