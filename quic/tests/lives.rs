//! Row 77: connections and streams that end in every way, from a seed: resets, stops, migrations,
//! closes and disappearances at any time, over a link that loses and reorders, while the server's
//! configuration is replaced. Also run under AddressSanitizer: `scripts/harden.sh asan`.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails by panicking")]

mod pair;

use std::sync::Arc;
use std::time::Duration;

use pair::client::Client;
use pair::server::{self, tls};
use pair::{Link, Server, World};
use ringway_quic::{Settings, quiche};

const LINK: Link =
    Link { loss: 20, duplicates: 20, reordered: 100, delay: Duration::from_micros(200), mtu: 0 };
const CLIENTS: usize = 6;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// One random action of a client. Returns false if the client has disappeared.
fn act(client: &mut Client, dice: &mut Dice, port: u16) -> bool {
    let any = client.responses.keys().next_back().copied().unwrap_or(0);
    match dice.roll(10) {
        0 | 1 => drop(client.request("GET", "/pull/60000", b"")),
        2 => drop(client.request("GET", "/shared/30000", b"")),
        3 => drop(client.request("POST", "/echo", &server::body(9_000))),
        4 => drop(client.request("GET", "/hang", b"")),
        // Both may name a stream that is already gone.
        5 => drop(client.conn.stream_shutdown(any, quiche::Shutdown::Read, 0x10c)),
        6 => drop(client.conn.stream_shutdown(any, quiche::Shutdown::Write, 0x10c)),
        7 => client.rebind(port),
        8 => drop(client.conn.close(true, 0x100, b"")),
        _ => return false,
    }
    true
}

fn lives(seed: u64, steps: u16) {
    let settings = Settings { idle_timeout: Duration::from_millis(300), ..Settings::default() };
    let again = settings.clone();
    let mut world = World::new(seed, LINK, Server::with(server::policy(), settings));
    let mut dice = Dice(seed);
    for step in 0..steps {
        if world.clients.len() < CLIENTS {
            world.client(Client::new(2000 + step));
        }
        let who = dice.roll(world.clients.len() as u64) as usize;
        let client = &mut world.clients[who];
        if client.conn.is_closed() {
            world.clients.swap_remove(who);
        } else if client.conn.is_established() {
            if client.responses.is_empty() {
                client.begin();
            }
            if !act(client, &mut dice, 20_000 + step) {
                world.clients.swap_remove(who);
            }
        }
        if dice.roll(50) == 0 {
            let register = Arc::clone(&world.server.register);
            world.server.endpoint.replace_config(again.config(tls(register)).unwrap());
        }
        world.run_for(Duration::from_micros(dice.roll(3000)));
    }
    let begun = world.server.endpoint.totals().accepted;
    world.clients.clear();
    world.run(|world| world.server.endpoint.load() == (0, 0, 0));
    println!("seed {seed}: {begun} lives, {} resets", world.server.resets.len());
    assert!(begun > u64::from(steps) / 50, "{begun} lives");
    // The endpoint still serves.
    let last = world.client(Client::new(999));
    world.run(|world| world.clients[last].conn.is_established());
    world.clients[last].begin();
    let id = world.clients[last].request("GET", "/shared/100000", b"");
    world.run(|world| world.clients[last].all_over());
    assert!(world.clients[last].responses[&id].body == server::body(100_000));
}

#[test]
fn row_77_lives_that_end_in_every_way() {
    for seed in 1..=3 {
        lives(seed, 200);
    }
}
