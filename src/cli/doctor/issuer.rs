//! The issuer: whoever verifies id_tokens begins at its address, and must find our own key set behind it.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::Value;

use super::keys::ActiveKey;
use super::network;
use crate::error_chain::Chain;
use crate::finding::Finding;
use crate::settings::{Environment, Settings};

const CHECK: &str = "issuer";

/// For each of two documents, connecting included.
const TIMEOUT: Duration = Duration::from_secs(4);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Ours have some hundred bytes for each key.
const MAX_BYTES: usize = 256 * 1024;

/// Why there is no document.
enum Missing {
    /// Nobody is there, or only a gateway without a server behind it: no reason to complain before the first start.
    Silent(String),
    /// Somebody is there, and not us.
    Foreign { message: String, advice: &'static str },
}

pub async fn look_at(settings: &Settings, active_key: &ActiveKey) -> Finding {
    match ask(settings, active_key).await {
        Ok(finding) => finding,
        Err(Missing::Foreign { message, advice }) => Finding::fail(CHECK, message, advice),
        Err(Missing::Silent(message)) => match settings.environment {
            Environment::Development => Finding::skip(CHECK, format!("no server is running: {message}")),
            Environment::Production => {
                let advice =
                    format!("{}; start the server and the gateway, then run doctor again", network::remedy(&message));
                Finding::warn(CHECK, message, advice)
            }
        },
    }
}

async fn ask(settings: &Settings, active_key: &ActiveKey) -> Result<Finding, Missing> {
    let issuer = settings.issuer();
    let client =
        Client::builder().no_proxy().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT);
    let client = client.build().map_err(|error| Missing::Silent(Chain(&error).to_string()))?;
    let discovery = document(&client, &format!("{issuer}/.well-known/openid-configuration")).await?;
    if discovery["issuer"] != *issuer {
        let message = format!("{issuer} says that its issuer is {}", discovery["issuer"]);
        let advice = "set id_token.issuer alike on every replica, and see where the gateway leads";
        return Err(Missing::Foreign { message, advice });
    }
    let jwks_uri = discovery["jwks_uri"].as_str().unwrap_or_default();
    let set = document(&client, jwks_uri).await?;
    let keys = set["keys"].as_array().map_or(&[][..], Vec::as_slice);
    match active_key {
        ActiveKey::Kid(kid) if keys.iter().any(|key| key["kid"] == **kid) => {
            Ok(Finding::ok(CHECK, format!("{issuer} publishes the key that signs")))
        }
        ActiveKey::Unknown => {
            Ok(Finding::skip(CHECK, format!("{issuer} answers; its keys cannot be compared without the database's")))
        }
        ActiveKey::Kid(_) | ActiveKey::Absent => Err(Missing::Foreign {
            message: format!("{jwks_uri} has {} keys, and not the one of this database that signs", keys.len()),
            advice: "see whether the server there works on this database, and whether a cache in between ignores \
                     max-age: clear it",
        }),
    }
}

async fn document(client: &Client, url: &str) -> Result<Value, Missing> {
    let failed = |error: reqwest::Error| {
        let chain = Chain(&error.without_url()).to_string();
        let message = format!("{url}: {chain}");
        if network::is_untrusted(&chain) {
            return Missing::Foreign { message, advice: network::remedy(&chain) };
        }
        Missing::Silent(message)
    };
    let response = client.get(url).send().await.map_err(failed)?;
    match response.status().as_u16() {
        200 => {}
        status @ 502..=504 => {
            return Err(Missing::Silent(format!("{url} answers {status}: the gateway finds no server")));
        }
        status => {
            let message = format!("{url} answers {status}");
            let advice =
                "see where the gateway leads, whether it passes this path on, and whether id_token.issuer is right";
            return Err(Missing::Foreign { message, advice });
        }
    }
    let body = body(response).await.map_err(failed)?;
    serde_json::from_slice(&body).map_err(|_| Missing::Foreign {
        message: format!("{url} answers something else than JSON"),
        advice: "another server is there: see where the gateway leads, and whether id_token.issuer is right",
    })
}

/// As much of it as ours could have.
async fn body(mut response: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await?
        && body.len() < MAX_BYTES
    {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
