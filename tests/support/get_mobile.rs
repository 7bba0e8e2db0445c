//! A `GetMobile` peer: checks every signature from the bytes that arrived, by the published rule and not by our own
//! code, takes each token once, and writes down every token that reached it.
//!
//! What it does with a token stands in the token: `<conduct>-<11 digits>[-<anything>]`, the conduct being
//!
//! | conduct | what happens |
//! |---|---|
//! | `ok` | the number, once; then `isv.TOKEN_INVALID` |
//! | `held` | the same, after [`GetMobile::release`] |
//! | `hang` | no answer, ever |
//! | `reset` | the connection is reset after the request was read |
//! | `garbage` | 200 with something that is not JSON |
//! | `busy` | `Throttling.User` |
//! | `quota` | the same as `ok`, after 200 ms; but `Throttling.User` at once above [`QUOTA_PER_SECOND`] of these calls |
//! | `masked` | success with a masked number |
//! | `sloppy` | the number, every time |

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use oneclick_login::clock::Clock;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::program::{Setup, eventually};

pub const ACCESS_KEY_ID: &str = "LTAI5tTestsAccessKeyId";
const ACCESS_KEY_SECRET: &str = "tests-access-key-secret-0123456789";

/// How many calls of the conduct `quota` are taken in each second.
pub const QUOTA_PER_SECOND: u32 = 60;

/// RFC 9110, 5.6.7.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

pub struct GetMobile {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    host: String,
    security_token: Option<String>,
    access_key_secret: String,
    seen: Mutex<Seen>,
    held: Semaphore,
}

#[derive(Default)]
struct Seen {
    /// Every token that arrived with a right signature, in order, never shortened.
    ledger: Vec<String>,
    used: HashSet<String>,
    /// The second that is running, and the calls of the conduct `quota` in it.
    second: (i64, u32),
    nonces: HashSet<String>,
    /// Of every request that had one, in order.
    traceparents: Vec<String>,
    /// What was wrong with a request.
    faults: Vec<String>,
}

impl GetMobile {
    pub async fn start() -> Self {
        Self::with(ACCESS_KEY_SECRET, None).await
    }

    pub async fn with(access_key_secret: &str, security_token: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            host: address.to_string(),
            security_token: security_token.map(str::to_owned),
            access_key_secret: access_key_secret.to_owned(),
            seen: Mutex::default(),
            held: Semaphore::new(0),
        });
        let serving = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        Self { address, shared, accepting: accepting.abort_handle() }
    }

    /// Has the program verify its tokens here.
    pub fn verifies_for(&self, setup: Setup) -> Setup {
        let setup = setup
            .set("ONECLICK_VERIFIER__PROVIDER", "aliyun")
            .set("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", format!("http://{}", self.address))
            .set("ALIBABA_CLOUD_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &self.shared.access_key_secret);
        match &self.shared.security_token {
            Some(token) => setup.set("ALIBABA_CLOUD_SECURITY_TOKEN", token),
            None => setup,
        }
    }

    pub fn ledger(&self) -> Vec<String> {
        self.shared.seen().ledger.clone()
    }

    pub fn traceparents(&self) -> Vec<String> {
        self.shared.seen().traceparents.clone()
    }

    pub async fn wait_for(&self, token: &str) {
        eventually("reached the peer", async || self.ledger().iter().any(|seen| seen == token).then_some(())).await;
    }

    /// Answers this many held tokens, those that will come included.
    pub fn release(&self, count: usize) {
        self.shared.held.add_permits(count);
    }

    /// Every request was signed as it must be.
    #[track_caller]
    pub fn assert_well_signed(&self) {
        assert_eq!(self.shared.seen().faults, Vec::<String>::new());
    }

    /// And no token came twice.
    #[track_caller]
    pub fn assert_clean(&self) {
        self.assert_well_signed();
        let ledger = self.ledger();
        let mut once = HashSet::new();
        let twice: Vec<_> = ledger.iter().filter(|token| !once.insert(*token)).collect();
        assert_eq!(twice, Vec::<&String>::new(), "tokens that were sent more than once");
    }
}

impl Drop for GetMobile {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Seen {
    fn has_quota_left(&mut self) -> bool {
        let second = now().unix_timestamp();
        if self.second.0 != second {
            self.second = (second, 0);
        }
        self.second.1 += 1;
        self.second.1 <= QUOTA_PER_SECOND
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        loop {
            while !bytes.ends_with(b"\r\n\r\n") {
                match stream.read_buf(&mut bytes).await {
                    Ok(1..) => {}
                    _ => return,
                }
            }
            let head = String::from_utf8_lossy(&bytes).into_owned();
            bytes.clear();
            let answer = match self.check(&head) {
                Ok(token) => self.answer(&token).await,
                Err(fault) => {
                    self.seen().faults.push(fault);
                    Some(business("400 Bad Request", "SignatureDoesNotMatch"))
                }
            };
            match answer {
                Some(answer) if stream.write_all(answer.as_bytes()).await.is_ok() => {}
                Some(_) => return,
                None => return stream.set_zero_linger().expect("a socket takes SO_LINGER"),
            }
        }
    }

    /// `None` resets the connection.
    async fn answer(&self, token: &str) -> Option<String> {
        let mut words = token.split('-');
        let (conduct, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        self.seen().ledger.push(token.to_owned());
        if conduct == "quota" {
            if !self.seen().has_quota_left() {
                return Some(business("429 Too Many Requests", "Throttling.User"));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let first_use = self.seen().used.insert(token.to_owned());
        if conduct == "held" {
            self.held.acquire().await.expect("never closed").forget();
        }
        let masked = || format!("{}****{}", &number[..3], &number[7..]);
        match conduct {
            "hang" => std::future::pending().await,
            "reset" => None,
            "garbage" => Some(http("200 OK", "<html>not what was asked for</html>")),
            "busy" => Some(business("429 Too Many Requests", "Throttling.User")),
            "masked" => Some(success(&masked())),
            "sloppy" => Some(success(number)),
            "ok" | "held" | "quota" if first_use => Some(success(number)),
            _ => Some(business("200 OK", "isv.TOKEN_INVALID")),
        }
    }

    /// The token, if the request is what the service's rules ask for.
    fn check(&self, head: &str) -> Result<String, String> {
        let (request_line, header_lines) = head.trim_end().split_once("\r\n").ok_or("no headers")?;
        let target = request_line.strip_prefix("POST ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
        let (path, query) = target.and_then(|target| target.split_once('?')).ok_or("not POST <path>?<query>")?;
        let mut headers = HashMap::new();
        for line in header_lines.split("\r\n") {
            let (name, value) = line.split_once(':').ok_or("a line without a colon")?;
            let repeated = headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()).is_some();
            ensure(!repeated, || format!("{name} is there twice"))?;
        }
        self.seen().traceparents.extend(headers.get("traceparent").cloned());
        let header = |name: &str| headers.get(name).map(String::as_str).ok_or(format!("no {name}"));
        let empty = hex(digest::digest(&digest::SHA256, b"").as_ref());
        for (name, value) in [
            ("host", &*self.host),
            ("content-length", "0"),
            ("x-acs-action", "GetMobile"),
            ("x-acs-version", "2017-05-25"),
            ("x-acs-content-sha256", &*empty),
        ] {
            ensure(header(name)? == value, || format!("{name}: {:?}", header(name)))?;
        }
        check_date(header("x-acs-date")?)?;
        let fresh = self.seen().nonces.insert(header("x-acs-signature-nonce")?.to_owned());
        ensure(fresh, || "the nonce was used before".to_owned())?;

        let mut parameters: Vec<(String, String)> =
            url::form_urlencoded::parse(query.replace('+', "%2B").as_bytes()).into_owned().collect();
        parameters.sort();
        let canonical: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        ensure(canonical.join("&") == query, || "the query is not in its canonical form".to_owned())?;
        self.check_signature(path, query, &headers)?;
        let names: Vec<_> = parameters.iter().map(|(name, _)| name.as_str()).collect();
        ensure(names == ["AccessToken", "OutId"], || format!("parameters {names:?}"))?;
        Ok(parameters.swap_remove(0).1)
    }

    fn check_signature(&self, path: &str, query: &str, headers: &HashMap<String, String>) -> Result<(), String> {
        let authorization = headers.get("authorization").ok_or("no authorization")?;
        let rest = authorization.strip_prefix("ACS3-HMAC-SHA256 ").ok_or("another algorithm")?;
        let fields: HashMap<&str, &str> = rest.split(',').filter_map(|field| field.split_once('=')).collect();
        let field = |name: &str| fields.get(name).copied().ok_or(format!("no {name}"));
        ensure(field("Credential")? == ACCESS_KEY_ID, || "another access key".to_owned())?;

        let mut must_be_signed = vec![
            "host",
            "x-acs-action",
            "x-acs-content-sha256",
            "x-acs-date",
            "x-acs-signature-nonce",
            "x-acs-version",
        ];
        if let Some(expected) = &self.security_token {
            ensure(headers.get("x-acs-security-token") == Some(expected), || "another security token".to_owned())?;
            must_be_signed.push("x-acs-security-token");
            must_be_signed.sort_unstable();
        }
        let signed = field("SignedHeaders")?;
        ensure(signed == must_be_signed.join(";"), || format!("signed headers {signed}"))?;

        let canonical_headers: String =
            must_be_signed.iter().map(|name| format!("{name}:{}\n", headers[*name].trim())).collect();
        let body = hex(digest::digest(&digest::SHA256, b"").as_ref());
        let request = format!("POST\n{path}\n{query}\n{canonical_headers}\n{signed}\n{body}");
        let request = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.access_key_secret.as_bytes());
        let signature = hex(hmac::sign(&key, format!("ACS3-HMAC-SHA256\n{request}").as_bytes()).as_ref());
        ensure(field("Signature")? == signature, || "another signature".to_owned())
    }
}

fn ensure(holds: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(fault()) }
}

fn check_date(text: &str) -> Result<(), String> {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let date = time::PrimitiveDateTime::parse(text, form).map_err(|error| format!("x-acs-date {text}: {error}"))?;
    let apart: time::Duration = date.assume_utc() - now();
    ensure(apart.unsigned_abs() < Duration::from_secs(15 * 60), || format!("x-acs-date {text} is far off"))
}

fn now() -> OffsetDateTime {
    Clock::system().now()
}

/// RFC 3986, with nothing left as it is but the unreserved.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn success(number: &str) -> String {
    let result = format!(r#""GetMobileResultDTO":{{"Mobile":"{number}"}}"#);
    http("200 OK", &format!(r#"{{"Code":"OK","Message":"OK","RequestId":"8906582E-6722",{result}}}"#))
}

fn business(status: &str, code: &str) -> String {
    http(status, &format!(r#"{{"Code":"{code}","Message":"refused","RequestId":"8906582E-6722"}}"#))
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    let date = now().format(HTTP_DATE).expect("a date and time has every part of this format");
    format!(
        "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: application/json;charset=utf-8\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}
