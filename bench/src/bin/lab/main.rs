//! `lab`: the benefit of each protocol, measured over a network with configurable delay, rate,
//! loss, reordering, duplication and address changes. The network is a link between two namespaces
//! of this process (see `link`). ringway serves at one end, the lab's client sends requests at the
//! other, and the kernel's TCP and quiche's QUIC work as in the field.

mod client;
mod experiment;
mod link;
mod packet;
mod side;
mod site;

use experiment::{ALL, Extent};
use link::{Link, SERVER, Shape};
use serde_json::{Value, json};
use site::Site;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

const HELP: &str = "\
lab: what each protocol buys, over a link of its own

usage: lab EXPERIMENT... [OPTIONS]        experiments, or all
       lab run [LINK OPTIONS] -- COMMAND  a command on the client's side of an empty link, whose
                                          far side answers pings at 10.9.0.2

  --repeats N       runs of each cell (default 5)
  --jobs N          links at a time (default 4)
  --quick           the smallest set that shows something
  --results DIR     also write DIR/lab-EXPERIMENT.json

Link options: --rtt MS, --rate MBIT, --loss PERCENT, --reorder PERCENT, --duplicate PERCENT,
--seed N

Needs root, /dev/net/tun and iproute2. On a busy machine, run it by `nice -n -10`.

Experiments:";

struct Args {
    names: Vec<String>,
    extent: Extent,
    results: Option<PathBuf>,
    shape: Shape,
    seed: u64,
    command: Vec<String>,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("lab: {problem}");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("lab: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let extent = Extent { repeats: 5, jobs: 4, quick: false };
    let (names, command) = (Vec::new(), Vec::new());
    let shape = Shape::default();
    let mut args = Args { names, extent, results: None, shape, seed: 1, command };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--repeats" => args.extent.repeats = number(&value()?)?,
            "--jobs" => args.extent.jobs = number(&value()?)?,
            "--quick" => args.extent.quick = true,
            "--results" => args.results = Some(value()?.into()),
            "--rtt" => args.shape.delay = Duration::from_secs_f64(number::<f64>(&value()?)? / 2e3),
            "--rate" => args.shape.rate = Some((number::<f64>(&value()?)? * 1e6) as u64),
            "--loss" => args.shape.loss = number::<f64>(&value()?)? / 100.0,
            "--reorder" => args.shape.reorder = number::<f64>(&value()?)? / 100.0,
            "--duplicate" => args.shape.duplicate = number::<f64>(&value()?)? / 100.0,
            "--seed" => args.seed = number(&value()?)?,
            "--" => args.command = words.by_ref().collect(),
            "-h" | "--help" => {
                println!("{HELP}");
                ALL.iter().for_each(|one| println!("  {:12} {}", one.name, one.about));
                return Ok(None);
            }
            "all" => args.names.extend(ALL.iter().map(|one| one.name.to_string())),
            name if name == "run" || ALL.iter().any(|one| one.name == name) => {
                args.names.push(word);
            }
            _ => return Err(format!("{word}: no such experiment or option; see --help")),
        }
    }
    if args.names.is_empty() {
        return Err("which experiment? see --help".into());
    }
    Ok(Some(args))
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{value} is not a number"))
}

fn run(args: &Args) -> io::Result<()> {
    if args.names[0] == "run" {
        return command(args);
    }
    let site = Site::new()?;
    for one in ALL.iter().filter(|one| args.names.iter().any(|name| name == one.name)) {
        eprintln!("{}: {}", one.name, one.about);
        let mut result = (one.run)(&site, args.extent)?;
        let Some(dir) = &args.results else { continue };
        if let (Value::Object(result), Value::Object(about)) = (&mut result, about(one.name, args))
        {
            result.extend(about);
        }
        std::fs::create_dir_all(dir)?;
        let text = serde_json::to_string_pretty(&result)? + "\n";
        std::fs::write(dir.join(format!("lab-{}.json", one.name)), text)?;
    }
    Ok(())
}

/// Runs a command on the client's side.
fn command(args: &Args) -> io::Result<()> {
    let none = || io::Error::new(io::ErrorKind::InvalidInput, "no command after --");
    let (program, arguments) = args.command.split_first().ok_or_else(none)?;
    let link = Link::new(args.shape, args.seed)?;
    let status = link.client.within(|| {
        Command::new(program).args(arguments).env("LAB_SERVER", SERVER.to_string()).status()
    })?;
    let status = status.map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    for way in [link::Way::Up, link::Way::Down] {
        eprintln!("{way:?}: {:?}", link.counts(way));
    }
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{program}: {status}"))) }
}

/// Date, machine and version of the figures.
fn about(name: &str, args: &Args) -> Value {
    let output = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).output().ok()?;
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).trim().to_string())
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let cpuinfo = read("/proc/cpuinfo");
    let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let load = read("/proc/loadavg");
    let seconds =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    json!({
        "experiment": name,
        "date": output("date", &["-u", "-d", &format!("@{seconds}"), "+%F"]),
        "commit": output("git", &["rev-parse", "--short", "HEAD"]),
        "repeats": args.extent.repeats,
        "quick": args.extent.quick,
        "machine": {
            "cpu": cpu,
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "kernel": read("/proc/sys/kernel/osrelease"),
            "congestion_control": side::CONGESTION_CONTROL,
            // Shows other load on the machine; the links sleep most of the time.
            "load_average": load.split(' ').next(),
        },
    })
}
