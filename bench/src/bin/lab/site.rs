//! The lab's site, and a whole lab: a link, ringway on its far side, and how to reach it.

use crate::client::{Ask, Connection, Protocol, Setup, Tls, finish};
use crate::link::{Dice, Link, SERVER, Shape};
use ringway::{OwnedRequest, Response, Router, Server, ServerHandle};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// The name in the certificate.
pub(crate) const NAME: &str = "localhost";

/// The most resources that a page refers to.
pub(crate) const RESOURCES: usize = 60;
/// How long `/slow` takes to answer.
pub(crate) const SLOW: Duration = Duration::from_millis(500);
/// Bytes of the page that shows the first flight: 28 segments, more than 10 or 20.
pub(crate) const FORTY: usize = 40_000;
/// Bytes of the large image.
pub(crate) const IMAGE: usize = 10 << 20;

/// The page's resources.
pub(crate) fn resource(n: usize) -> String {
    format!("/r/{n}.js")
}

/// Small files whose contents are those of `/bundle.js`.
pub(crate) fn small(n: usize) -> String {
    format!("/small/{n}.js")
}

/// A directory of files that do not compress, removed at the end.
pub(crate) struct Site(PathBuf);

impl Site {
    pub(crate) fn new() -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("ringway-lab-{}", std::process::id()));
        for folder in ["r", "small"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        let site = Self(dir);
        let mut dice = Dice(1);
        for n in 0..RESOURCES {
            // 2 to 22 KB, 12 in the mean.
            let len = 2000 + (dice.next() % 20_000) as usize;
            site.write(&resource(n), len, &mut dice)?;
            site.write(&small(n), 2048, &mut dice)?;
        }
        site.write("/bundle.js", 2048 * RESOURCES, &mut dice)?;
        site.write("/page.html", 10_000, &mut dice)?;
        site.write("/forty.html", FORTY, &mut dice)?;
        site.write("/style.css", 20_000, &mut dice)?;
        site.write("/tiny.txt", 100, &mut dice)?;
        site.write("/warm.bin", 1 << 20, &mut dice)?;
        site.write("/image.jpg", IMAGE, &mut dice)?;
        Ok(site)
    }

    fn write(&self, name: &str, len: usize, dice: &mut Dice) -> io::Result<()> {
        let bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| dice.next().to_le_bytes()).collect();
        fs::write(self.0.join(&name[1..]), &bytes[..len])
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Leftovers of a failed run are in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A link with a server at its end.
pub(crate) struct Lab {
    pub(crate) link: Link,
    pub(crate) setup: Setup,
    pub(crate) certificate: rustls::pki_types::CertificateDer<'static>,
    pub(crate) speaks_h3: bool,
    // Not shared, but the rest of the lab is.
    server: Mutex<Option<ServerHandle>>,
}

impl Lab {
    /// The server is started and has cached its files before the link becomes `shape`.
    pub(crate) fn new(site: &Site, shape: Shape, seed: u64) -> io::Result<Self> {
        Self::with(site, shape, seed, |server| server)
    }

    /// The same, with the server changed by `adapt` before it starts.
    pub(crate) fn with(
        site: &Site,
        shape: Shape,
        seed: u64,
        adapt: impl FnOnce(Server) -> Server + Send,
    ) -> io::Result<Self> {
        let link = Link::new(Shape::default(), seed)?;
        let address = SocketAddr::from((SERVER, 443));
        let clear = SocketAddr::from((SERVER, 80));
        let running = link.server.within(|| {
            let tls = ringway::tls::Tls::self_signed().map_err(io::Error::other)?;
            let app = Router::new()
                .get("/slow", async |_: OwnedRequest| {
                    ringway::sleep(SLOW).await;
                    Response::text("slow")
                })
                .files("/", site.path());
            let server = Server::new(app).https(address.to_string(), tls).http(clear.to_string());
            adapt(server.workers(1).cpus([])).start().map_err(io::Error::other)
        })??;
        let certificate = running
            .tls()
            .and_then(|tls| tls.certificates().first().map(|one| one.chain()[0].clone()))
            .ok_or_else(|| io::Error::other("the server has no certificate"))?;
        let tls = Tls::new(&certificate, &rustls::version::TLS13, false)?;
        let speaks_h3 = running.local_addrs().iter().any(|(scheme, _)| scheme.to_string() == "h3");
        let setup = Setup { address, clear, tls, ticket: None, early: false };
        let lab = Self { link, setup, certificate, speaks_h3, server: Mutex::new(Some(running)) };
        lab.warm_up()?;
        lab.link.reshape(shape);
        Ok(lab)
    }

    /// Runs `body` on the client's side.
    pub(crate) fn client<T: Send>(
        &self,
        body: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        self.link.client.within(body)?
    }

    /// The protocols that the server speaks over TLS.
    pub(crate) fn protocols(&self) -> Vec<Protocol> {
        let all = [Protocol::H1, Protocol::H2, Protocol::H3];
        all.into_iter().filter(|protocol| *protocol != Protocol::H3 || self.speaks_h3).collect()
    }

    fn warm_up(&self) -> io::Result<()> {
        self.client(|| {
            let mut one = [Connection::open(Protocol::Clear, &self.setup)?];
            let resources = (0..RESOURCES).flat_map(|n| [resource(n), small(n)]);
            let others = ["/bundle.js", "/page.html", "/forty.html", "/style.css", "/tiny.txt"];
            let mut done = Vec::new();
            for path in resources.chain(others.map(String::from)) {
                one[0].ask(&Ask::new(0, path));
                done.clear();
                finish(&mut one, &mut done, 1)?;
                if done[0].status != 200 {
                    return Err(io::Error::other(format!("the site answers {}", done[0].status)));
                }
            }
            Ok(())
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Ok(Some(server)) = self.server.get_mut().map(Option::take) {
            server.stop();
            // Its threads belong to the namespace, which must end.
            let _ = server.join();
        }
    }
}
