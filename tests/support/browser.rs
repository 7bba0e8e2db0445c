//! A real browser without a window: chromium, driven by the W3C's WebDriver protocol through its chromedriver.
//!
//! Taken from `PATH`, else installed as Debian's packages where the tests may. Nothing is skipped: without a browser the
//! test fails and says how to get one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::packages::{find_program, install};
use super::program::{PATIENCE, eventually};

const HELP: &str = "the page is tested in a real browser, and there is none. Have chromium (or Chrome) and chromedriver in \
                    PATH: on Debian, apt-get install chromium chromium-driver";
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// A browser with one window. It ends with its test.
pub struct Browser {
    driver: Child,
    /// Held open, so that it may go on talking.
    _said: BufReader<ChildStdout>,
    port: u16,
    session: String,
    client: reqwest::Client,
}

impl Browser {
    /// `language` as a reader's browser has it: `zh-CN`.
    pub async fn start(language: &str) -> Self {
        let (browser, driver) =
            tokio::task::spawn_blocking(find).await.unwrap().unwrap_or_else(|why| panic!("{HELP}: {why}"));
        let (driver, said, port) = start_driver(&driver.display().to_string());
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let mut this = Self { driver, _said: said, port, session: String::new(), client };
        // The only pages that it sees are our own, and root, as in a container, has no sandbox to put them in.
        let lang = format!("--lang={language}");
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--window-size=1280,1600",
            &lang,
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": {
                "binary": browser,
                "args": arguments,
                "prefs": { "intl.accept_languages": language },
            },
            "goog:loggingPrefs": { "performance": "ALL", "browser": "ALL" },
        } } });
        let session = this.call("/session", &wanted).await;
        this.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        this
    }

    pub async fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url })).await;
    }

    /// What an expression of JavaScript is once it is neither null nor false; it may not be so yet.
    pub async fn wait_for(&self, expression: &str) -> Value {
        eventually(expression, async || {
            let value =
                self.command("execute/sync", &json!({ "script": format!("return {expression}"), "args": [] })).await;
            (!value.is_null() && value != false).then_some(value)
        })
        .await
    }

    /// A click as a person makes it: on something that is there, visible and not covered.
    pub async fn click(&self, selector: &str) {
        self.wait_for(&format!("document.querySelector({})", json!(selector))).await;
        let element = self.command("element", &json!({ "using": "css selector", "value": selector })).await;
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.command(&format!("element/{id}/click"), &json!({})).await;
    }

    /// The addresses that pages have asked for since the last time.
    pub async fn requests(&self) -> Vec<String> {
        let events = self.command("se/log", &json!({ "type": "performance" })).await;
        let events = events.as_array().unwrap().iter().map(|event| event["message"].as_str().unwrap());
        let events = events.map(|text| serde_json::from_str::<Value>(text).unwrap()["message"].take());
        let sent = events.filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// What the browser complained of: errors of scripts, and what the page's policy kept it from.
    pub async fn complaints(&self) -> Vec<Value> {
        let lines = self.command("se/log", &json!({ "type": "browser" })).await;
        lines.as_array().unwrap().iter().filter(|line| line["level"] == "SEVERE").cloned().collect()
    }

    async fn command(&self, name: &str, body: &Value) -> Value {
        self.call(&format!("{}/{name}", self.session), body).await
    }

    async fn call(&self, path: &str, body: &Value) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = self.client.post(url).body(body.to_string()).send().await.expect("the driver answers");
        let mut answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert!(answer["value"]["error"].is_null(), "{path} {body}: {answer}");
        answer["value"].take()
    }
}

impl Drop for Browser {
    /// The driver ends its browser with the session; killed, it would leave it behind.
    fn drop(&mut self) {
        if let Ok(mut driver) = TcpStream::connect(("127.0.0.1", self.port)) {
            let end = format!("DELETE {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.session);
            let _ = driver.set_read_timeout(Some(PATIENCE));
            let _ = driver.write_all(end.as_bytes());
            // It answers once the browser has ended, and keeps the connection.
            let _ = driver.read(&mut [0]);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The browser and its driver.
fn find() -> Result<(PathBuf, PathBuf), String> {
    let both = || Some((find_program(&BROWSERS)?, find_program(&["chromedriver"])?));
    if let Some(found) = both() {
        return Ok(found);
    }
    install(&["chromium", "chromium-driver"])?;
    both().ok_or_else(|| "installing them did not help".to_owned())
}

/// It says on its first lines which port it has got.
fn start_driver(program: &str) -> (Child, BufReader<ChildStdout>, u16) {
    let mut driver = Command::new(program)
        .arg("--port=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(driver.stdout.take().unwrap());
    let lines = said.by_ref().lines().map_while(Result::ok);
    let port =
        lines.map(|line| Some(line.trim_end_matches('.').rsplit_once("successfully on port ")?.1.parse().unwrap()));
    let port = port.flatten().next().expect("the driver says its port");
    (driver, said, port)
}
