//! An address of loopback for each Pod, so that two of them can listen on one port.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// Whoever holds this UDP port of an address has the address; every test process on the machine sees it. Nobody here
/// speaks UDP, see [`crate::ports`].
const CLAIM: u16 = 10_250;
/// 127.1.0.0 and what follows, without the range in which people have servers of their own.
const FIRST: u32 = 0x7f01_0000;
const COUNT: u32 = 0xf0_0000;

/// An address in 127.0.0.0/8 that is ours until this value is dropped. Linux lets anybody listen on any of them.
#[derive(Debug)]
pub(super) struct Address {
    ip: Ipv4Addr,
    _claim: UdpSocket,
}

impl Address {
    /// Claims one that nobody has.
    ///
    /// # Errors
    /// When a thousand in a row are taken.
    pub(super) fn claim() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Processes start at places far apart, so that they seldom try the same one.
        let offset = std::process::id().wrapping_mul(7919);
        for _ in 0..1_000 {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let ip = Ipv4Addr::from(FIRST + offset.wrapping_add(step) % COUNT);
            // The first and the last of each 256 look like a network's own.
            if [0, 255].contains(&ip.octets()[3]) {
                continue;
            }
            if let Ok(claim) = UdpSocket::bind((ip, CLAIM)) {
                return Ok(Self { ip, _claim: claim });
            }
        }
        bail!("no address of 127.0.0.0/8 is free")
    }

    pub(super) fn ip(&self) -> Ipv4Addr {
        self.ip
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn two_pods_can_listen_on_one_port() {
        let (one, two) = (Address::claim().unwrap(), Address::claim().unwrap());
        assert_ne!(one.ip(), two.ip());
        let first = TcpListener::bind((one.ip(), 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        TcpListener::bind((two.ip(), port)).unwrap();
    }
}
