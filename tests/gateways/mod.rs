//! The gateways of `deploy/`, for real: Debian's nginx and Apache with the shipped files, of which only addresses, ports
//! and paths are replaced. Nothing is skipped: where a gateway is not installed it is installed, or the test fails and
//! says what to do.

mod apache;
mod daemon;
mod login_through_nginx;
mod nginx;
mod nginx_failures;
mod nginx_tls;
mod protected_page;
mod recorder;
mod replicas_behind_nginx;
mod rolling_restart;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use reqwest::Certificate;

use crate::support::packages;
use crate::support::tls;

/// A shipped file with each of these replaced, which must be there.
fn rendered(file: &str, replacements: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    for (shipped, ours) in replacements {
        assert!(text.contains(shipped), "{file} has no {shipped:?}");
        text = text.replace(shipped, ours);
    }
    text
}

/// A program of a package: where Debian puts it, else in `PATH`, else from the package.
fn program(name: &str, needed: &[&str], names_of_packages: &[&str]) -> PathBuf {
    let find = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths("/usr/sbin").chain(std::env::split_paths(&path));
        let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file())?;
        needed.iter().all(|file| Path::new(file).is_file()).then_some(found)
    };
    find().unwrap_or_else(|| {
        let help = format!("the tests need {name}: apt-get install {}", names_of_packages.join(" "));
        packages::install(names_of_packages).unwrap_or_else(|error| panic!("{help}\nWhat was tried: {error}"));
        find().unwrap_or_else(|| panic!("{help}"))
    })
}

/// Trusts the tests' certificate and nothing else, and calls from an address of this machine's.
fn client(from: Ipv4Addr) -> reqwest::Client {
    let certificate = Certificate::from_der(&tls::certificate()).unwrap();
    let builder = reqwest::Client::builder().no_proxy().timeout(crate::support::program::PATIENCE);
    let builder = builder.local_address(IpAddr::from(from));
    builder.tls_certs_only([certificate]).build().unwrap()
}
