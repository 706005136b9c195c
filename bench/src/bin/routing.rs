//! The cost of routes and layers: instructions of a handler's call through a router: literal,
//! nested, with a parameter, and behind three layers. Counted by callgrind as the difference
//! between 2 N and N calls, so setup does not count.
//!
//! Without arguments: count and print. `run ROW N`: make N calls (run under callgrind).

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::Instant;

use ringway::layer::Next;
use ringway::{Handler, Reply, Request, Response, Router};

/// Calls in the shorter of the two runs.
const CALLS: u64 = 10_000;

/// The counted rows, and their request paths.
const ROWS: [(&str, &str); 4] = [
    ("literal", "/plaintext"),
    ("nested", "/api/plaintext"),
    ("parameter", "/user/7"),
    ("three-layers", "/plaintext"),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["run", row, calls] => calls.parse().ok().and_then(|calls| run(row, calls)),
        _ => ROWS.iter().try_for_each(|(row, _)| count(row)),
    };
    if done.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn hello(_: &Request<'_>) -> Response {
    Response::text("hello")
}

/// Passes the request on and inspects the answer.
fn looks(request: &Request<'_>, next: Next<'_>) -> Reply {
    next.run(request).map(|response| {
        black_box(response.status_code());
        response
    })
}

fn app(row: &str) -> Router {
    let others = ["/a", "/b", "/plain", "/plaintexts", "/users", "/orders", "/orders/new"];
    let with = |router: Router, path: &&str| router.get(path, hello);
    let literal = others.iter().fold(Router::new().get("/plaintext", hello), with);
    match row {
        "nested" => Router::new().get("/", hello).nest("/api", literal),
        "parameter" => literal.get("/{name}/x", hello).get("/user/{id}", hello),
        "three-layers" => literal.layer(looks).layer(looks).layer(looks),
        _ => literal,
    }
}

/// Makes calls; prints how long one took.
fn run(row: &str, calls: u64) -> Option<()> {
    let (_, path) = ROWS.iter().find(|(name, _)| *name == row)?;
    let app = app(row);
    let request = Request::builder().uri(path).build().ok()?;
    let view = request.view();
    let begun = Instant::now();
    for _ in 0..calls {
        black_box(black_box(&app).call(black_box(&view)));
    }
    println!("{row}: {:.1} ns", begun.elapsed().as_nanos() as f64 / calls as f64);
    Some(())
}

fn count(row: &str) -> Option<()> {
    let counted = (executed(row, 2 * CALLS)? - executed(row, CALLS)?) / CALLS;
    println!("{row:16} {counted} instructions a call");
    Some(())
}

/// Instructions of one whole run: callgrind's total.
fn executed(row: &str, calls: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args(["run", row, &calls.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().find_map(|line| line.split("Collected : ").nth(1))?.trim().parse().ok()
}
