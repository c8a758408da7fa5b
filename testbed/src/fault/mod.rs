//! A TCP proxy that does to a connection what a network does on a bad day.
//!
//! It stands between a client and a server, so that neither has to know. *Up* is from the client
//! to the server, *down* is the way back. Every verb acts at once, on open connections too, and
//! holds until [`FaultProxy::heal`].
//!
//! What it cannot do: lose single packets, or stop the kernel's acknowledgements. A blackhole keeps
//! the connection and delivers nothing, which is what an application sees of a half-open
//! connection; to keep-alive of TCP itself the peer seems well.

mod lane;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use lane::{Corruption, Lane};

/// How long a connection that was closed in good form is drained, so that what the peer sent in
/// the meantime does not turn the close into a reset.
const DRAIN: Duration = Duration::from_secs(1);

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In good form, as by a server that ends.
    Fin,
    /// By a reset, as by a machine that crashed and came back.
    Rst,
}

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
    /// Either.
    Both,
}

impl Direction {
    fn has_up(self) -> bool {
        matches!(self, Self::Up | Self::Both)
    }

    fn has_down(self) -> bool {
        matches!(self, Self::Down | Self::Both)
    }
}

/// What the proxy has seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that clients opened.
    pub accepted: u64,
    /// Those of them that are open.
    pub open: u64,
    /// Bytes handed to the server.
    pub up: u64,
    /// Bytes handed to clients.
    pub down: u64,
}

/// A running fault proxy. Dropping it resets every connection and stops listening.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    shared: Arc<Shared>,
    listener: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free port and forwards to `target`, as in `127.0.0.1:2379`; a URL is taken too.
    ///
    /// # Errors
    /// When `target` is no address, or nothing can listen.
    pub async fn start(target: &str) -> Result<Self> {
        let rules = Rules::new(address_of(target)?);
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let (rules, seen) = watch::channel(rules);
        let shared = Arc::new(Shared::default());
        Ok(Self {
            address,
            rules,
            listener: tokio::spawn(accept(listener, seen, Arc::clone(&shared))),
            shared,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes every connection, and every new one as soon as it is opened.
    pub fn cut(&self, how: Cut) {
        self.rules.send_modify(|rules| {
            rules.refuse = Some(how);
            rules.cut(how);
        });
    }

    /// Closes every connection that is open now; new ones are served.
    pub fn disconnect(&self, how: Cut) {
        self.rules.send_modify(|rules| rules.cut(how));
    }

    /// Keeps connections open, takes new ones, and delivers nothing; what was sent is delivered
    /// after the heal, ends of connections included.
    pub fn blackhole(&self, direction: Direction) {
        self.change(direction, |lane| lane.closed = true);
    }

    /// Delivers everything this much later, without narrowing how much is under way.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.change(direction, |lane| lane.delay = delay);
    }

    /// Delivers at most so many bytes a second on each connection; at least one.
    pub fn rate(&self, direction: Direction, bytes_per_second: u32) {
        self.change(direction, |lane| lane.rate = Some(bytes_per_second.max(1)));
    }

    /// Inverts every bit of the next `bytes` bytes, over all connections.
    pub fn corrupt(&self, direction: Direction, bytes: u64) {
        if direction.has_up() {
            self.shared.corrupt_up.add(bytes);
        }
        if direction.has_down() {
            self.shared.corrupt_down.add(bytes);
        }
    }

    /// Ends every fault; bytes that were held back are delivered now.
    pub fn heal(&self) {
        self.shared.corrupt_up.clear();
        self.shared.corrupt_down.clear();
        self.rules.send_modify(|rules| {
            rules.refuse = None;
            rules.up = Lane::default();
            rules.down = Lane::default();
        });
    }

    /// Forwards new connections elsewhere; open ones stay where they are until they are cut.
    ///
    /// # Errors
    /// When `target` is no address.
    pub fn retarget(&self, target: &str) -> Result<()> {
        let target = address_of(target)?;
        self.rules.send_modify(|rules| rules.target = target);
        Ok(())
    }

    /// What it has seen so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            accepted: read(&self.shared.accepted),
            open: read(&self.shared.open),
            up: read(&self.shared.up),
            down: read(&self.shared.down),
        }
    }

    fn change(&self, direction: Direction, change: impl Fn(&mut Lane)) {
        self.rules.send_modify(|rules| {
            if direction.has_up() {
                change(&mut rules.up);
            }
            if direction.has_down() {
                change(&mut rules.down);
            }
        });
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.cut(Cut::Rst);
    }
}

/// What holds at the moment.
#[derive(Clone, Debug)]
struct Rules {
    target: SocketAddr,
    /// What happens to new connections.
    refuse: Option<Cut>,
    /// Counts the cuts: a connection ends when this moves on.
    cuts: u64,
    last_cut: Cut,
    up: Lane,
    down: Lane,
}

impl Rules {
    fn new(target: SocketAddr) -> Self {
        Self {
            target,
            refuse: None,
            cuts: 0,
            last_cut: Cut::Fin,
            up: Lane::default(),
            down: Lane::default(),
        }
    }

    fn cut(&mut self, how: Cut) {
        self.cuts += 1;
        self.last_cut = how;
    }
}

/// What all connections count together.
#[derive(Debug, Default)]
struct Shared {
    accepted: AtomicU64,
    open: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    corrupt_up: Corruption,
    corrupt_down: Corruption,
}

async fn accept(listener: TcpListener, rules: watch::Receiver<Rules>, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors: others may close theirs.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve(client, rules.clone(), Arc::clone(&shared)));
    }
}

async fn serve(mut client: TcpStream, rules: watch::Receiver<Rules>, shared: Arc<Shared>) {
    let _open = Open::count(&shared);
    let (refuse, target, cuts) = {
        let now = rules.borrow();
        (now.refuse, now.target, now.cuts)
    };
    if let Some(how) = refuse {
        return close(&mut client, how).await;
    }
    let connected = tokio::select! {
        connected = TcpStream::connect(target) => connected,
        how = cut(rules.clone(), cuts) => return close(&mut client, how).await,
    };
    let Ok(mut server) = connected else {
        // A refused connection looks the same through the proxy.
        return close(&mut client, Cut::Rst).await;
    };
    // Small messages are not to wait for each other's acknowledgement; failing to say so costs time only.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let how = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = lane::run(
            from_client,
            to_server,
            rules.clone(),
            |rules| &rules.up,
            &shared.corrupt_up,
            &shared.up,
        );
        let down = lane::run(
            from_server,
            to_client,
            rules.clone(),
            |rules| &rules.down,
            &shared.corrupt_down,
            &shared.down,
        );
        tokio::select! {
            // Both sides have closed; an error of one side is passed on as what it most likely was.
            ended = async { tokio::try_join!(up, down) } => ended.map_or(Cut::Rst, |_| Cut::Fin),
            how = cut(rules, cuts) => how,
        }
    };
    tokio::join!(close(&mut client, how), close(&mut server, how));
}

/// Waits until somebody cuts, counted from `before`; the end of the proxy itself is a reset.
async fn cut(mut rules: watch::Receiver<Rules>, before: u64) -> Cut {
    match rules.wait_for(|rules| rules.cuts != before).await {
        Ok(rules) => rules.last_cut,
        Err(_) => Cut::Rst,
    }
}

async fn close(stream: &mut TcpStream, how: Cut) {
    match how {
        Cut::Rst => {
            // The reset itself is sent when the stream is dropped.
            let _ = stream.set_zero_linger();
        }
        Cut::Fin => {
            let _ = tokio::io::AsyncWriteExt::shutdown(stream).await;
            let mut ignored = [0; 4096];
            let drain =
                async { while stream.read(&mut ignored).await.is_ok_and(|read| read > 0) {} };
            let _ = tokio::time::timeout(DRAIN, drain).await;
        }
    }
}

/// Counts a connection for as long as it lives.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn count(shared: &'a Shared) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn address_of(target: &str) -> Result<SocketAddr> {
    let bare = target
        .trim_start_matches("http://")
        .trim_start_matches("https://")
        .trim_end_matches('/');
    bare.parse()
        .with_context(|| format!("`{target}` is no address; one looks like `127.0.0.1:2379`"))
}
