//! Each verb of the fault proxy does what its name says, seen from a client.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::{Cut, Direction, FaultProxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough that an answer which is on its way would have come.
const SILENCE: Duration = Duration::from_millis(300);
/// A bound for everything that should happen at once.
const SOON: Duration = Duration::from_secs(30);

/// A server that answers every byte with that byte plus `offset`.
async fn echo(offset: u8) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    buffer[..read]
                        .iter_mut()
                        .for_each(|byte| *byte = byte.wrapping_add(offset));
                    if stream.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(address)
}

async fn ask(stream: &mut TcpStream, byte: u8) -> Result<u8> {
    stream.write_all(&[byte]).await?;
    Ok(timeout(SOON, stream.read_u8()).await??)
}

async fn connected() -> Result<(FaultProxy, TcpStream)> {
    let proxy = FaultProxy::start(&echo(1).await?).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut stream, 1).await?, 2);
    Ok((proxy, stream))
}

#[tokio::test]
async fn a_healthy_proxy_passes_and_counts() -> Result<()> {
    let (proxy, stream) = connected().await?;
    let counts = proxy.counts();
    assert_eq!(
        (counts.accepted, counts.open, counts.up, counts.down),
        (1, 1, 1, 1)
    );
    drop(stream);
    eventually("the connection to be counted out", SOON, async || {
        anyhow::ensure!(proxy.counts().open == 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_cut_by_fin_ends_in_good_form_and_refuses_until_the_heal() -> Result<()> {
    let (proxy, mut stream) = connected().await?;
    proxy.cut(Cut::Fin);
    assert_eq!(timeout(SOON, stream.read(&mut [0; 8])).await??, 0);
    let mut refused = TcpStream::connect(proxy.address()).await?;
    assert_eq!(timeout(SOON, refused.read(&mut [0; 8])).await??, 0);
    proxy.heal();
    let mut healed = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut healed, 7).await?, 8);
    Ok(())
}

#[tokio::test]
async fn a_cut_by_reset_is_an_error_at_the_client() -> Result<()> {
    let (proxy, mut stream) = connected().await?;
    proxy.disconnect(Cut::Rst);
    let error = timeout(SOON, stream.read(&mut [0; 8])).await?.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut next = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut next, 7).await?, 8);
    Ok(())
}

#[tokio::test]
async fn a_blackhole_is_mute_either_way_and_gives_back_what_it_held() -> Result<()> {
    for direction in [Direction::Up, Direction::Down, Direction::Both] {
        let (proxy, mut stream) = connected().await?;
        proxy.blackhole(direction);
        stream.write_all(&[10]).await?;
        assert!(
            timeout(SILENCE, stream.read_u8()).await.is_err(),
            "{direction:?}"
        );
        let mut late = TcpStream::connect(proxy.address()).await?;
        late.write_all(&[20]).await?;
        assert!(
            timeout(SILENCE, late.read_u8()).await.is_err(),
            "{direction:?}"
        );
        let expected = if direction == Direction::Down { 3 } else { 1 };
        // What is not held back may be under way yet.
        eventually("what is let through to arrive", SOON, async || {
            let up = proxy.counts().up;
            anyhow::ensure!(up == expected, "{up} bytes, {direction:?}");
            Ok(())
        })
        .await?;
        proxy.heal();
        assert_eq!(timeout(SOON, stream.read_u8()).await??, 11, "{direction:?}");
        assert_eq!(timeout(SOON, late.read_u8()).await??, 21, "{direction:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_delay_is_added_once_a_direction_and_ends_with_the_heal() -> Result<()> {
    let (proxy, mut stream) = connected().await?;
    proxy.delay(Direction::Both, Duration::from_millis(150));
    let start = Instant::now();
    assert_eq!(ask(&mut stream, 1).await?, 2);
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    proxy.delay(Direction::Up, Duration::from_mins(1));
    stream.write_all(&[5]).await?;
    assert!(timeout(SILENCE, stream.read_u8()).await.is_err());
    proxy.heal();
    assert_eq!(timeout(SOON, stream.read_u8()).await??, 6);
    Ok(())
}

#[tokio::test]
async fn a_rate_bounds_the_bytes_of_a_second() -> Result<()> {
    let (proxy, mut stream) = connected().await?;
    proxy.rate(Direction::Down, 10_000);
    let start = Instant::now();
    stream.write_all(&[0; 3_000]).await?;
    timeout(SOON, stream.read_exact(&mut [0; 3_000])).await??;
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(250), "{took:?}");
    Ok(())
}

#[tokio::test]
async fn corruption_inverts_as_many_bytes_as_it_was_told() -> Result<()> {
    let (proxy, mut stream) = connected().await?;
    proxy.corrupt(Direction::Down, 2);
    stream.write_all(&[0, 0, 0, 0]).await?;
    let mut answer = [0; 4];
    timeout(SOON, stream.read_exact(&mut answer)).await??;
    assert_eq!(answer, [!1, !1, 1, 1]);
    Ok(())
}

#[tokio::test]
async fn a_new_target_is_for_new_connections() -> Result<()> {
    let (proxy, mut stream) = connected().await?;
    proxy.retarget(&echo(100).await?)?;
    assert_eq!(ask(&mut stream, 1).await?, 2);
    let mut next = TcpStream::connect(proxy.address()).await?;
    assert_eq!(ask(&mut next, 1).await?, 101);
    assert!(proxy.retarget("nowhere").is_err());
    Ok(())
}

#[tokio::test]
async fn a_target_that_refuses_is_a_reset_at_the_client() -> Result<()> {
    let (proxy, _stream) = connected().await?;
    let nobody = testbed::ports::Port::claim()?;
    proxy.retarget(&nobody.address().to_string())?;
    let mut next = TcpStream::connect(proxy.address()).await?;
    let error = timeout(SOON, next.read(&mut [0; 8])).await?.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    Ok(())
}
