//! The real program in a folder of its own, with an environment that the test gives it and nothing else; what it says
//! on both outputs is collected, and it does not outlive its test.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::app::{Answer, Call, login};
use super::description::assert_described;
use super::scrape::Scrape;

/// For everything that must happen; long enough for a machine that does something else as well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder and an environment to start the program in, as often as one likes.
#[derive(Clone)]
pub struct Setup {
    folder: Arc<TempDir>,
    variables: BTreeMap<String, String>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    /// Without the audit events.
    pub stderr: String,
    pub audit: Vec<Value>,
}

impl Setup {
    /// An empty folder, ports that are free, and nothing configured.
    pub fn new() -> Self {
        let bare = Self { folder: Arc::new(tempfile::tempdir().unwrap()), variables: BTreeMap::new() };
        let home = bare.folder().display().to_string();
        bare.set("HOME", home)
            .set("PATH", std::env::var("PATH").unwrap())
            .set("ONECLICK_SERVER__LISTEN", "127.0.0.1:0")
            .set("ONECLICK_SERVER__MANAGEMENT_LISTEN", "127.0.0.1:0")
    }

    /// On this database, under a master key that outlives the folder.
    pub fn on(database_url: impl Into<String>) -> Self {
        Self::new()
            .set("DATABASE_URL", database_url)
            .set("ONECLICK_SECRETS__MASTER_KEY", "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
    }

    /// With all that production must be told, and credentials that no call is made with.
    pub fn in_production(self) -> Self {
        self.set("ONECLICK_ENVIRONMENT", "production")
            .set("ONECLICK_ID_TOKEN__ISSUER", "https://login.example.com/api/v1/oauth2")
            .set("ONECLICK_VERIFIER__PROVIDER", "aliyun")
            .set("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-test")
            .set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret-test")
    }

    /// For tests of what comes out and not of when: a machine that has other things to do must not end it early.
    pub fn patient(self) -> Self {
        self.set("ONECLICK_SERVER__REQUEST_TIMEOUT_MS", "120000")
            .set("ONECLICK_VERIFIER__ALIYUN__TIMEOUT_MS", "60000")
            .set("ONECLICK_DATABASE__PHASE_TIMEOUT_MS", "30000")
            .set("ONECLICK_DATABASE__STATEMENT_TIMEOUT_MS", "10000")
    }

    /// For tests of what becomes of a login whose time is over: a request has two seconds.
    pub fn impatient(self) -> Self {
        self.set("ONECLICK_SERVER__REQUEST_TIMEOUT_MS", "2000")
            .set("ONECLICK_VERIFIER__ALIYUN__TIMEOUT_MS", "1000")
            .set("ONECLICK_VERIFIER__ALIYUN__CONNECT_TIMEOUT_MS", "500")
            .set("ONECLICK_DATABASE__PHASE_TIMEOUT_MS", "800")
    }

    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    pub fn unset(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Of the store that is used where nothing is configured.
    pub fn sqlite_file(&self) -> PathBuf {
        self.folder().join("data/oneclick-login.db")
    }

    /// Starts the server and waits until it takes logins.
    pub async fn start(&self) -> Program {
        let mut program = self.spawn();
        program.wait_until_listening().await;
        program
    }

    /// Starts the program and waits for nothing.
    pub fn spawn(&self) -> Program {
        Program::spawn(self, &[])
    }

    /// To be started by other means than these.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oneclick-login"));
        command.args(arguments).current_dir(self.folder()).env_clear().envs(&self.variables).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let mut program = Program::spawn(self, arguments);
        let status = program.wait().await;
        let event = |line: &str| serde_json::from_str(line).ok().filter(is_audit);
        let said = program.stderr();
        let (events, words): (Vec<_>, Vec<_>) = said.split_inclusive('\n').partition(|line| event(line).is_some());
        let audit = events.into_iter().filter_map(event).collect();
        Ran { code: status.code(), stdout: program.stdout(), stderr: words.concat(), audit }
    }
}

/// A started program; killed when it is dropped.
pub struct Program {
    child: Child,
    stdout: Collected,
    stderr: Collected,
    pub listen: SocketAddr,
    pub management: SocketAddr,
    client: reqwest::Client,
    _folder: Arc<TempDir>,
}

impl Program {
    fn spawn(setup: &Setup, arguments: &[&str]) -> Self {
        raise_descriptor_limit();
        let mut child = setup
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cargo has built the program");
        let stdout = Collected::from(child.stdout.take().expect("piped"));
        let stderr = Collected::from(child.stderr.take().expect("piped"));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client without TLS");
        Self { child, stdout, stderr, listen: nowhere, management: nowhere, client, _folder: Arc::clone(&setup.folder) }
    }

    /// Its first line names both addresses; from then on it answers health checks.
    pub async fn wait_until_alive(&mut self) {
        let line = self.wait_for_line("starting").await;
        let address = |field: &str| line[field].as_str().unwrap().parse().unwrap();
        (self.listen, self.management) = (address("server.listen"), address("server.management_listen"));
    }

    /// Until it takes logins.
    pub async fn wait_until_listening(&mut self) {
        self.wait_until_alive().await;
        self.wait_for_line("listening").await;
    }

    async fn wait_for_line(&mut self, message: &str) -> Value {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log_lines().into_iter().find(|line| line["message"] == message) {
                return line;
            }
            let ended = self.child.try_wait().unwrap();
            let patient = ended.is_none() && Instant::now() < give_up_at;
            assert!(patient, "no {message:?}: {ended:?}\n{}\n{}", self.stdout(), self.stderr());
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The lines of the log that are complete, without what is said to a person.
    pub fn log_lines(&self) -> Vec<Value> {
        let text = self.stdout();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    pub fn audit_events(&self) -> Vec<Value> {
        self.log_lines().into_iter().filter(is_audit).collect()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it holds of the machine's memory.
    pub fn resident_kib(&self) -> i64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs, on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it has not been waited for");
    }

    /// Ends in order, as fast as that goes.
    pub async fn end(&mut self) {
        self.signal(Signal::INT);
        let status = self.wait().await;
        assert!(status.success(), "{status}: {}", self.stderr());
    }

    /// Waits for the end and for the last of what it said.
    pub async fn wait(&mut self) -> ExitStatus {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap()
                && self.stdout.ended()
                && self.stderr.ended()
            {
                return status;
            }
            assert!(Instant::now() < give_up_at, "it does not end: {}", self.stdout());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// A login as the contract wants it; it must be answered.
    pub async fn log_in(&self, access_token: &str) -> Answer {
        self.send(login(access_token)).await.expect("the server answers")
    }

    pub async fn send(&self, call: Call) -> Result<Answer, reqwest::Error> {
        let (method, path) = (call.method.clone(), call.path.clone());
        let answer = exchange(&self.client, &format!("http://{}", self.listen), call).await?;
        assert_described(&method, &path, &answer);
        Ok(answer)
    }

    pub async fn get(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.listen);
        read(self.client.get(url).send().await.expect("the server answers")).await.expect("whole")
    }

    /// Asks the management listener; its answer is not in the contract's form.
    pub async fn health(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.management);
        let answer = self.client.get(url).send().await.expect("the management listener answers");
        read(answer).await.expect("whole")
    }

    /// What `/metrics` shows a Prometheus.
    pub async fn scrape(&self) -> Scrape {
        let answer = self.metrics("application/openmetrics-text").await;
        Scrape::parse(&String::from_utf8(answer.body).unwrap())
    }

    pub async fn metrics(&self, accept: &str) -> Answer {
        let request = self.client.get(format!("http://{}/metrics", self.management)).header("accept", accept);
        read(request.send().await.expect("the management listener answers")).await.expect("whole")
    }

    pub async fn wait_until_ready(&self) {
        eventually("ready", async || (self.health("/readyz").await.status == 200).then_some(())).await;
    }

    /// All that the server writes on a connection of its own until it closes that.
    pub async fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        read_to_end(stream).await
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.listen).await.expect("the server listens")
    }
}

fn is_audit(line: &Value) -> bool {
    line["target"] == "audit"
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn read_to_end(mut stream: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is an end as well.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends a call to whoever is at `base`: a program, or a gateway in front of it.
pub async fn exchange(client: &reqwest::Client, base: &str, call: Call) -> Result<Answer, reqwest::Error> {
    let (parts, _) = call.clone().build().into_parts();
    let url = format!("{base}{}", parts.uri);
    read(client.request(parts.method, url).headers(parts.headers).body(call.body).send().await?).await
}

async fn read(response: reqwest::Response) -> Result<Answer, reqwest::Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < give_up_at, "not {what} within {PATIENCE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Everything that comes out of a pipe, taken by a thread, so that the program never waits for its reader.
struct Collected {
    text: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Collected {
    fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 16 * 1024];
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                taken.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&chunk[..length]);
            }
        });
        Self { text, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn ended(&self) -> bool {
        self.reader.is_finished()
    }
}

/// A thousand clients at once need a thousand sockets here, and half of them in each replica.
fn raise_descriptor_limit() {
    static RAISED: Once = Once::new();
    const WANTED: u64 = 4096;
    RAISED.call_once(|| {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let wanted = maximum.map_or(WANTED, |most| most.min(WANTED));
        if current.is_some_and(|current| current < wanted) {
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).expect("the limit may be raised");
        }
    });
}
