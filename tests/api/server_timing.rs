//! `Server-Timing` on a login's answer: in development, and nowhere else.

use crate::support::app::{Answer, SEED_TOKEN, TestApp, login};

/// What an environment needs to be production.
const PRODUCTION: [(&str, &str); 6] = [
    ("ONECLICK_ENVIRONMENT", "production"),
    ("DATABASE_URL", "sqlite://elsewhere.db"),
    ("ONECLICK_VERIFIER__PROVIDER", "aliyun"),
    ("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", "https://127.0.0.1:1"),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-test"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret-test"),
];

/// The stages that the answer names, in their order; each took some time, and all of them no more than the total.
fn stages(answer: &Answer) -> Vec<String> {
    let header = answer.header("server-timing").unwrap_or_else(|| panic!("no timing: {answer:?}"));
    let stages: Vec<(&str, f64)> = header
        .split(", ")
        .map(|stage| stage.split_once(";dur=").unwrap())
        .map(|(name, milliseconds)| (name, milliseconds.parse().unwrap()))
        .collect();
    let (last, parts) = stages.split_last().unwrap();
    let sum: f64 = parts.iter().map(|(_, milliseconds)| milliseconds).sum();
    assert!(last.0 == "total" && sum <= last.1, "{header}");
    parts.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[tokio::test]
async fn in_development_a_logins_answer_says_what_took_how_long() {
    let app = TestApp::start().await;
    let answer = app.log_in("sandbox:slow:50:13900001234").await;
    assert_eq!((answer.status.as_u16(), stages(&answer)), (200, vec!["verify".into(), "commit".into(), "sign".into()]));
    let verify = answer.header("server-timing").unwrap().trim_start_matches("verify;dur=");
    assert!(verify.split_once(',').unwrap().0.parse::<f64>().unwrap() >= 50.0, "in milliseconds: {verify}");

    for (call, reached) in [(login("sandbox:invalid"), 1), (login(SEED_TOKEN).without("X-agent"), 0)] {
        let refused = app.send(call.build()).await;
        assert_eq!((refused.error_code().len(), stages(&refused).len()), (20, reached), "{refused:?}");
    }
    for other in [app.get("/api/v1/oauth2/keys").await, app.get("/nowhere").await] {
        assert_eq!(other.header("server-timing"), None);
    }
}

#[tokio::test]
async fn in_production_no_answer_says_what_took_how_long() {
    let app = TestApp::with(&PRODUCTION).await;
    app.register_sdk_app("shop", None).await;
    let app = TestApp::over(app.store.clone(), &PRODUCTION).await;
    let unreachable = app.send(login("token").with("X-client-id", "shop").build()).await;
    assert_eq!(unreachable.error_code(), "IDAAS.SDK.COM.0002", "the verifier was tried");
    assert_eq!(unreachable.header("server-timing"), None);
}
