//! The page in a real browser: it shows the document, tries the login, and asks nobody but this server.

use crate::support::browser::Browser;
use crate::support::program::Setup;

/// Of the answer that a tried call got.
const STATUS: &str = "document.querySelector('.live-responses-table tbody .response-col_status')?.textContent.trim()";
const BODY: &str = "document.querySelector('.live-responses-table .highlight-code code')?.textContent";
const TITLE: &str = "document.querySelector('[id$=-logIn] .opblock-summary-description')?.textContent";

/// Opens the login and presses its button, with everything as the page has filled it in.
async fn try_the_login(browser: &Browser) {
    browser.click("[id$=-logIn] .opblock-summary-control").await;
    browser.click("[id$=-logIn] button.execute").await;
    let status = browser.wait_for(STATUS).await;
    assert_eq!(status.as_str().unwrap().split_whitespace().next(), Some("200"), "{status}");
    let body = browser.wait_for(BODY).await;
    let answer: serde_json::Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
    assert_eq!((&answer["status"], &answer["expire"]), (&"SUCCESS".into(), &432_000.into()));
}

#[tokio::test]
async fn a_reader_tries_the_login_in_the_browser_and_it_succeeds() {
    let program = Setup::new().start().await;
    let browser = Browser::start("en-US").await;
    browser.open(&format!("http://{}/docs", program.listen)).await;
    assert_eq!(browser.wait_for(TITLE).await, "Log in with the phone's own number");
    try_the_login(&browser).await;

    browser.click("nav a[lang=zh]").await;
    browser.wait_for("document.documentElement.lang === 'zh'").await;
    assert_eq!(browser.wait_for(TITLE).await, "本机号码一键登录");
    try_the_login(&browser).await;

    let here = format!("http://{}/", program.listen);
    let requests = browser.requests().await;
    let elsewhere: Vec<_> =
        requests.iter().filter(|url| !url.starts_with(&here) && !url.starts_with("data:")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let logins = requests.iter().filter(|url| url.ends_with("/aliyun-mobile-auth")).count();
    assert_eq!((logins, browser.complaints().await), (2, vec![]));
}

#[tokio::test]
async fn a_chinese_browser_is_shown_the_chinese_document() {
    let program = Setup::new().start().await;
    let browser = Browser::start("zh-CN").await;
    browser.open(&format!("http://{}/docs", program.listen)).await;
    assert_eq!(browser.wait_for(TITLE).await, "本机号码一键登录");
}
