//! What a program does on a worker besides answering: tasks, closures on other threads, timeouts,
//! intervals, channels, and what happens to them on shutdown (row P8).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::future::pending;
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use harness::client::Client;
use harness::{PATIENCE, eventually};
use ringway::config::Limits;
use ringway::sync::OneshotSender;
use ringway::task::{JoinError, JoinHandle};
use ringway::time::Elapsed;
use ringway::{
    OwnedRequest, Request, Response, Router, Scheme, Server, ServerHandle, channel, draining,
    interval, oneshot, sleep, spawn, spawn_blocking, timeout,
};

const SHORT: Duration = Duration::from_millis(20);

/// A server of this process, with one worker, and its address.
fn serve(app: Router, limits: Limits) -> (ServerHandle, SocketAddr) {
    let server = Server::new(app).workers(1).limits(limits).http("127.0.0.1:0").start().unwrap();
    let address = server.local_addr(Scheme::Http).unwrap();
    (server, address)
}

/// The text that an app answers to `GET /`.
fn ask<F, Fut>(handler: F) -> String
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = String> + 'static,
{
    let handler = Arc::new(handler);
    let app = Router::new().get("/", move |_: OwnedRequest| {
        let answer = handler();
        async move { Response::text(answer.await) }
    });
    let (server, address) = serve(app, Limits::default());
    let text = Client::connect(address).get("/").text().to_owned();
    end(server);
    text
}

fn end(server: ServerHandle) {
    server.stop();
    server.join().unwrap();
}

/// Signals on a channel when it is dropped.
struct Told(mpsc::Sender<&'static str>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[test]
fn p8_a_task_runs_on_its_worker_and_gives_its_result() {
    let text = ask(async || {
        // It need not be Send.
        let shared = Rc::new(41);
        let theirs = Rc::clone(&shared);
        let task = spawn(async move {
            sleep(SHORT).await;
            let here = std::thread::current().name().map(str::to_owned);
            (*theirs + 1, here)
        });
        assert!(!task.is_finished());
        let (n, thread) = task.await.unwrap();
        format!("{n} on {}", thread.unwrap())
    });
    assert_eq!(text, "42 on ringway-0");
}

#[test]
fn p8_a_task_outlives_its_request_and_its_handle() {
    let (done, results) = mpsc::channel();
    let app = Router::new().get("/", move |_: &Request<'_>| {
        let done = done.clone();
        drop(spawn(async move {
            sleep(SHORT).await;
            done.send("done").unwrap();
        }));
        Response::text("accepted")
    });
    let (server, address) = serve(app, Limits::default());
    assert_eq!(Client::connect(address).get("/").text(), "accepted");
    assert_eq!(results.recv_timeout(PATIENCE).unwrap(), "done");
    end(server);
}

#[test]
fn p8_a_panic_ends_its_task_or_closure_alone_and_the_handle_says_so() {
    let app = Router::new()
        .get("/task", async |_: OwnedRequest| {
            let task: JoinHandle<()> = spawn(async { panic!("a test's own {}", "panic") });
            Response::text(format!("{:?}", task.await))
        })
        .get("/closure", async |_: OwnedRequest| {
            let closure: JoinHandle<()> = spawn_blocking(|| panic!("a test's own panic"));
            Response::text(format!("{:?}", closure.await))
        })
        .get("/into", async |_: OwnedRequest| -> Result<Response, JoinError> {
            spawn(async { panic!("a test's own panic") }).await?;
            Ok(Response::text("not reached"))
        })
        .get("/well", async |_: OwnedRequest| {
            Response::display(spawn_blocking(|| 6 * 7).await.unwrap())
        });
    let server = Server::new(app).workers(1).http("127.0.0.1:0").metrics("127.0.0.1:0");
    let server = server.start().unwrap();
    let mut client = Client::connect(server.local_addr(Scheme::Http).unwrap());
    for path in ["/task", "/closure"] {
        assert_eq!(client.get(path).text(), "Err(Panicked(\"a test's own panic\"))", "{path}");
        assert_eq!(client.get("/well").text(), "42", "after {path}");
    }
    assert_eq!(client.get("/into").status, 500);
    let mut metrics = Client::connect(server.local_addr(Scheme::Metrics).unwrap());
    let metrics = metrics.get_local("/metrics");
    let counted =
        metrics.text().lines().find_map(|line| line.strip_prefix("ringway_panics_total "));
    assert!(counted.unwrap().parse::<u64>().unwrap() >= 3, "{}", metrics.text());
    end(server);
}

#[test]
fn p8_an_aborted_task_is_dropped_where_it_awaits() {
    let text = ask(async || {
        let (drops, dropped) = mpsc::channel();
        let told = Told(drops);
        let task: JoinHandle<()> = spawn(async move {
            let _told = told;
            pending().await
        });
        sleep(SHORT).await;
        assert!(dropped.try_recv().is_err() && !task.is_finished());
        task.abort();
        let result = task.await;
        format!("{result:?} {}", dropped.try_recv().unwrap())
    });
    assert_eq!(text, "Err(Canceled) dropped");
}

#[test]
fn p8_closures_are_bounded_and_one_that_has_not_begun_is_aborted() {
    let ran = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ran);
    let app = Router::new().get("/", move |_: OwnedRequest| {
        let ran = Arc::clone(&counted);
        async move {
            let (open, gate) = mpsc::channel::<()>();
            let (begun, begins) = oneshot();
            let first = spawn_blocking(move || {
                let _ = begun.send(());
                gate.recv_timeout(PATIENCE).is_err()
            });
            begins.await.unwrap();
            let second = spawn_blocking(move || ran.fetch_add(1, Ordering::Relaxed));
            let third = spawn_blocking(|| ());
            let refused = third.await.unwrap_err();
            second.abort();
            drop(open);
            let results = format!("{:?} {:?} {refused:?}", first.await, second.await);
            let status = Response::from(refused).status_code().as_u16();
            Response::text(format!("{results} {status}"))
        }
    });
    let limits = Limits { blocking_threads: 1, blocking_queue: 1, ..Limits::default() };
    let (server, address) = serve(app, limits);
    let answer = Client::connect(address).get("/");
    assert_eq!(answer.text(), "Ok(true) Err(Canceled) Overloaded 503");
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    end(server);
}

#[test]
fn p8_oneshot_wakes_its_worker_from_another_thread() {
    let text = ask(async || {
        let (sender, receiver) = oneshot();
        std::thread::spawn(move || {
            std::thread::sleep(SHORT);
            sender.send("woken").unwrap();
        });
        receiver.await.unwrap().to_owned()
    });
    assert_eq!(text, "woken");
}

/// Threads outside send to handlers on two workers, and handlers to each other, for as long as the
/// test's bound: every wake arrives, or a request would never be answered.
#[test]
fn p8_no_wake_of_a_worker_is_lost() {
    type Waiting = Arc<Mutex<Vec<OneshotSender<u64>>>>;
    let waiting = Waiting::default();
    let asked = Arc::clone(&waiting);
    let (numbers, mut sums) = channel::<u64>(4);
    let app = Router::new()
        .get("/wait", move |_: OwnedRequest| {
            let (sender, receiver) = oneshot();
            asked.lock().unwrap().push(sender);
            async move { Response::display(receiver.await.unwrap()) }
        })
        .get("/send", move |_: OwnedRequest| {
            let numbers = numbers.clone();
            async move {
                for n in 0..10 {
                    numbers.send(n).await.unwrap();
                }
                Response::text("sent")
            }
        });
    let server = Server::new(app).workers(2).http("127.0.0.1:0").start().unwrap();
    let address = server.local_addr(Scheme::Http).unwrap();
    let end_at = Instant::now() + Duration::from_millis(1500);
    let total = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn(move || {
                    let (mut client, mut sent) = (Client::connect(address), 0);
                    while Instant::now() < end_at {
                        if n % 2 == 0 {
                            assert_eq!(client.get("/wait").text(), "7");
                        } else {
                            assert_eq!(client.get("/send").text(), "sent");
                            sent += 45;
                        }
                    }
                    sent
                })
            })
            .collect();
        let waker = scope.spawn(|| {
            while Instant::now() < end_at + Duration::from_millis(300) {
                for sender in waiting.lock().unwrap().drain(..) {
                    sender.send(7).unwrap();
                }
                std::thread::yield_now();
            }
        });
        let sum = scope.spawn(move || {
            let mut sum = 0;
            while let Some(n) = sums.blocking_recv() {
                sum += n;
            }
            sum
        });
        let sent: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
        waker.join().unwrap();
        // The handler that has the last sender goes with the server.
        end(server);
        assert_eq!(sum.join().unwrap(), sent);
        sent
    });
    assert!(total > 450, "{total}");
}

#[test]
fn p8_a_timeout_ends_what_takes_too_long_and_leaves_what_does_not() {
    let text = ask(async || {
        let (drops, dropped) = mpsc::channel();
        let told = Told(drops);
        let start = Instant::now();
        let late = timeout(SHORT, async move {
            let _told = told;
            pending::<()>().await;
        });
        assert_eq!(late.await, Err(Elapsed));
        assert!(start.elapsed() >= SHORT - Duration::from_millis(1), "{:?}", start.elapsed());
        let in_time = timeout(PATIENCE, async {
            sleep(SHORT).await;
            "in time"
        });
        format!("{} {}", dropped.try_recv().unwrap(), in_time.await.unwrap())
    });
    assert_eq!(text, "dropped in time");
}

#[test]
fn p8_an_interval_keeps_step_and_leaves_missed_ticks_out() {
    let text = ask(async || {
        let period = Duration::from_millis(50);
        let start = Instant::now();
        let mut ticks = interval(period);
        ticks.tick().await;
        assert!(start.elapsed() < period, "the first one comes at once");
        ticks.tick().await;
        assert!(start.elapsed() >= period - Duration::from_millis(1));
        // Three and a half periods pass; the tick that is due comes late, those behind it never.
        sleep(period * 7 / 2).await;
        ticks.tick().await;
        let late = start.elapsed();
        ticks.tick().await;
        let next = start.elapsed();
        assert!(next > late, "the missed ones are not made up for");
        let phase = next.as_millis() % period.as_millis();
        assert!(phase < 35, "{next:?} is not in step");
        "in step".to_owned()
    });
    assert_eq!(text, "in step");
}

#[test]
fn p8_outside_of_a_worker_each_says_what_is_wrong() {
    let said = |call: fn()| {
        let payload = catch_unwind(call).unwrap_err();
        payload.downcast_ref::<String>().unwrap().clone()
    };
    let calls: [(&str, fn()); 6] = [
        ("spawn", || drop(spawn(async {}))),
        ("spawn_blocking", || drop(spawn_blocking(|| ()))),
        ("sleep", || drop(sleep(SHORT))),
        ("timeout", || drop(timeout(SHORT, async {}))),
        ("interval", || drop(interval(SHORT))),
        ("draining", || drop(draining())),
    ];
    for (name, call) in calls {
        let said = said(call);
        let wanted = format!("ringway::{name} was called outside of a worker: ");
        assert!(said.starts_with(&wanted), "{said}");
    }
    // What holds a thread is refused where the thread is a worker; the answer is 500.
    let app = Router::new().get("/", |_: &Request<'_>| {
        let (sender, _receiver) = channel(1);
        sender.blocking_send(()).unwrap();
        Response::text("not reached")
    });
    let (server, address) = serve(app, Limits::default());
    assert_eq!(Client::connect(address).get("/").status, 500);
    end(server);
}

/// A server whose requests leave a task and a closure behind that take `time`, and a task that ends
/// only with the drain; what they come to.
fn left_behind(time: Duration, drain_timeout: Duration) -> (ServerHandle, mpsc::Receiver<String>) {
    let (results, told) = mpsc::channel();
    let (begins, begun) = mpsc::channel();
    let app = Router::new().get("/", move |_: &Request<'_>| {
        let begins = begins.clone();
        let [task, closure, drain] = ["task", "closure", "drain"].map(|name| Tale {
            name,
            end: "dropped",
            results: results.clone(),
        });
        drop(spawn(async move {
            sleep(time).await;
            task.ends("done");
        }));
        drop(spawn_blocking(move || {
            begins.send(()).unwrap();
            std::thread::sleep(time);
            closure.ends("done");
        }));
        drop(spawn(async move {
            draining().await;
            drain.ends("seen");
        }));
        Response::text("left")
    });
    let (server, address) = serve(app, Limits { drain_timeout, ..Limits::default() });
    assert_eq!(Client::connect(address).get("/").text(), "left");
    begun.recv_timeout(PATIENCE).unwrap();
    (server, told)
}

/// Reports how it ended.
struct Tale {
    name: &'static str,
    end: &'static str,
    results: mpsc::Sender<String>,
}

impl Tale {
    fn ends(mut self, end: &'static str) {
        self.end = end;
    }
}

impl Drop for Tale {
    fn drop(&mut self) {
        let _ = self.results.send(format!("{} {}", self.name, self.end));
    }
}

fn sorted(results: &mpsc::Receiver<String>) -> Vec<String> {
    let mut all: Vec<_> = results.try_iter().collect();
    all.sort();
    all
}

#[test]
fn p8_a_drain_waits_for_tasks_and_closures() {
    let (server, results) = left_behind(Duration::from_millis(300), Duration::from_secs(30));
    server.drain();
    server.join().unwrap();
    assert_eq!(sorted(&results), ["closure done", "drain seen", "task done"]);
}

#[test]
fn p8_a_drain_waits_for_tasks_no_longer_than_its_timeout() {
    let (server, results) = left_behind(Duration::from_secs(2), Duration::from_millis(100));
    let start = Instant::now();
    server.drain();
    server.join().unwrap();
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
    // The closure cannot be ended, and is left to its thread.
    assert_eq!(sorted(&results), ["drain seen", "task dropped"]);
    eventually("it ends by itself", || sorted(&results) == ["closure done"]);
}

#[test]
fn p8_a_stop_drops_tasks_at_once() {
    let (server, results) = left_behind(Duration::from_secs(2), Duration::from_secs(30));
    let start = Instant::now();
    server.stop();
    server.join().unwrap();
    assert!(start.elapsed() < Duration::from_millis(1900), "{:?}", start.elapsed());
    assert_eq!(sorted(&results), ["drain dropped", "task dropped"]);
}
