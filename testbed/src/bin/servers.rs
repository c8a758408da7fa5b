//! Builds every server and tool of the testbed that is not built yet, and prints where each is.
//!
//! `servers` takes the default pins; `servers etcd-3.7 helm-4` takes those folders of
//! `testbed/servers`.

use anyhow::Result;
use testbed::assets;

#[tokio::main]
async fn main() -> Result<()> {
    let mut folders: Vec<String> = std::env::args().skip(1).collect();
    if folders.is_empty() {
        folders = vec![
            assets::ETCD.to_owned(),
            assets::HELM.to_owned(),
            assets::kubernetes(),
        ];
    }
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    for path in assets::prepare(&folders).await? {
        println!("{}", path.display());
    }
    Ok(())
}
