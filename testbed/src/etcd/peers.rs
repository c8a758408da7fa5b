//! The links between members, each of which a test can cut while clients still reach everybody.
//!
//! A member has one peer address and all others dial it, so what a connection belongs to is not
//! in its address: both ends are 127.0.0.1. Whoever dialled is found by the owner of its socket,
//! in `/proc`. So this works on Linux alone, and only clusters that ask for it pay for it.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::fault::FaultProxy;
use crate::ports::Port;
use crate::process::Process;

/// The links of a cluster. Dropping them closes all.
#[derive(Debug)]
pub(super) struct Links {
    /// By who dials and who is dialled; a member does not dial itself.
    proxies: Vec<Vec<Option<FaultProxy>>>,
    addresses: Vec<SocketAddr>,
    members: Members,
    _doors: JoinSet<()>,
}

/// The processes of the members, known only after the links are.
type Members = Arc<OnceLock<Vec<Weak<Process>>>>;

impl Links {
    /// Makes a link from each member to each other one, and an address that stands for each.
    pub(super) async fn create(peers: &[&Port]) -> Result<Self> {
        let mut proxies = Vec::new();
        for from in 0..peers.len() {
            let mut row = Vec::new();
            for (to, port) in peers.iter().enumerate() {
                row.push(if from == to {
                    None
                } else {
                    Some(FaultProxy::start(&port.http()).await?)
                });
            }
            proxies.push(row);
        }
        let members = Members::default();
        let mut doors = JoinSet::new();
        let mut addresses = Vec::new();
        for to in 0..peers.len() {
            let listener = TcpListener::bind("127.0.0.1:0")
                .await
                .context("cannot listen on loopback")?;
            addresses.push(listener.local_addr()?);
            let targets = proxies.iter().map(|row: &Vec<Option<FaultProxy>>| {
                let proxy = row.get(to).and_then(Option::as_ref);
                proxy.map(FaultProxy::address)
            });
            doors.spawn(door(listener, targets.collect(), Arc::clone(&members)));
        }
        Ok(Self {
            proxies,
            addresses,
            members,
            _doors: doors,
        })
    }

    /// Says who the members are; until then nobody is let in.
    pub(super) fn introduce(&self, members: Vec<Weak<Process>>) {
        // They are introduced once, when they have been started.
        let _ = self.members.set(members);
    }

    /// What the others dial to reach a member.
    pub(super) fn url(&self, member: usize) -> String {
        format!("http://{}", self.addresses[member])
    }

    /// The link by which one member dials another one.
    pub(super) fn link(&self, from: usize, to: usize) -> Option<&FaultProxy> {
        self.proxies.get(from)?.get(to)?.as_ref()
    }

    /// All links of a member, either way.
    pub(super) fn of(&self, member: usize) -> impl Iterator<Item = &FaultProxy> {
        (0..self.proxies.len()).flat_map(move |other| {
            let ways = [self.link(member, other), self.link(other, member)];
            ways.into_iter().flatten()
        })
    }
}

/// Lets members in, each by its own link.
async fn door(listener: TcpListener, links: Vec<Option<SocketAddr>>, members: Members) {
    // Ended with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, from)) = accepted else { continue };
                let known = members.get().map(Vec::as_slice).unwrap_or_default();
                let dialler = owner(from.port(), known);
                // A stranger is turned away; a member that is not introduced yet tries again.
                if let Some(link) = dialler.and_then(|member| links.get(member).copied().flatten()) {
                    connections.spawn(join(client, link));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn join(mut client: TcpStream, link: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(link).await {
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        // How it ended concerns the two that talked.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}

/// Which of the processes holds the socket with this local port.
fn owner(port: u16, processes: &[Weak<Process>]) -> Option<usize> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let socket = format!("socket:[{}]", inode(&table, port)?);
    processes.iter().position(|process| {
        let id = process.upgrade().and_then(|process| process.id());
        let files = id.and_then(|id| fs::read_dir(format!("/proc/{id}/fd")).ok());
        files.into_iter().flatten().flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
        })
    })
}

/// The inode of the established socket on 127.0.0.1 with this local port.
fn inode(table: &str, port: u16) -> Option<&str> {
    const ESTABLISHED: &str = "01";
    let local = format!("0100007F:{port:04X}");
    table.lines().skip(1).find_map(|line| {
        // `number: local remote state queues timer retransmits user timeout inode …`
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&ESTABLISHED))
            .then(|| fields.get(9).copied())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_by_its_port_and_not_by_the_one_that_it_dialled() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0
   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 22 1 0
   2: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 33 1 0
";
        assert_eq!(inode(table, 50_000), Some("22"));
        assert_eq!(inode(table, 8_080), Some("11"));
        assert_eq!(inode(table, 3_000), None, "it only listens");
    }
}
