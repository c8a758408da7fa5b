//! Free ports that stay free until their server has them, and while it restarts.
//!
//! Binding port 0 and closing it again is a race that parallel test processes lose now and then:
//! the kernel hands the number to the next one who asks, or to an outgoing connection. So ports
//! come from below the kernel's range for those, and whoever takes one also holds the UDP port of the same
//! number. Nobody here speaks UDP, so that socket is a lock which every test process on the machine
//! sees and which the kernel takes back when its owner dies.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// Below the kernel's default range for outgoing connections, 32768 to 60999, and that of IANA.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

/// A port on 127.0.0.1 that is ours until this value is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// Claims a port on which nobody listens. Takes microseconds.
    ///
    /// # Errors
    /// When none of 20,000 is free.
    pub fn claim() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Processes start at places far apart, so that they seldom try the same number.
        let offset = std::process::id().wrapping_mul(7919) % COUNT;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let candidate = FIRST + offset.wrapping_add(step) % COUNT;
            if let Some(port) = u16::try_from(candidate).ok().and_then(Self::try_claim) {
                return Ok(port);
            }
        }
        bail!(
            "none of the ports {FIRST} to {} on 127.0.0.1 is free",
            FIRST + COUNT - 1
        )
    }

    fn try_claim(number: u16) -> Option<Self> {
        let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        // All interfaces: some servers listen on 0.0.0.0, and somebody may listen there already.
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).ok()?;
        Some(Self {
            number,
            _claim: claim,
        })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its address on 127.0.0.1.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.number))
    }

    /// `http://127.0.0.1:<number>`.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_port_is_not_given_twice() {
        let ports: Vec<Port> = (0..50).map(|_| Port::claim().unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ports.len());
        assert!(
            ports
                .iter()
                .all(|port| Port::try_claim(port.number).is_none())
        );
    }

    #[test]
    fn a_port_on_which_somebody_listens_is_passed_over() {
        // The kernel's choice is no number that another process claims meanwhile.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = listener.local_addr().unwrap().port();
        assert!(Port::try_claim(number).is_none());
        drop(listener);
    }
}
