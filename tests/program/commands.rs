//! What an operator types: on SQLite while the server runs, and against an empty Postgres.

use serde_json::Value;

use super::rows::subject;
use crate::support::app::{DEMO_CLIENT_ID, SEED_TOKEN, login};
use crate::support::postgres;
use crate::support::program::{Program, Ran, Setup, eventually};

/// The command succeeds and says this.
#[track_caller]
fn assert_says(ran: &Ran, text: &str) {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.stdout.contains(text), "{text:?} is not said: {ran:?}");
}

#[track_caller]
fn assert_fails(ran: &Ran, code: i32, text: &str) {
    assert_eq!(ran.code, Some(code), "{ran:?}");
    assert!(ran.stderr.contains(text), "{text:?} is not said: {ran:?}");
    assert_eq!(ran.stdout, "", "{ran:?}");
}

async fn wait_for_code(server: &Program, client_id: &str, code: Option<&str>) {
    eventually("what the command changed is seen", async || {
        let answer = server.send(login(SEED_TOKEN).with("X-client-id", client_id)).await.unwrap();
        let seen = (answer.status != 200).then(|| answer.error_code());
        (seen.as_deref() == code).then_some(())
    })
    .await;
}

#[tokio::test]
async fn apps_are_registered_listed_disabled_and_enabled_under_the_running_server() {
    let setup = Setup::new();
    let server = setup.start().await;
    wait_for_code(&server, "shop", Some("IDAAS.SDK.PARAM.0003")).await;

    let register = setup.run(&["app", "register", "--client-id", "shop", "--name", "The shop"]).await;
    assert_says(&register, "registered app shop");
    wait_for_code(&server, "shop", None).await;

    let again = ["app", "register", "--client-id", "shop", "--name", "Our shop", "--auto-register", "off"];
    assert_says(&setup.run(&again).await, "updated app shop");
    let list = setup.run(&["app", "list"]).await;
    assert_says(&list, "Our shop");
    let row = list.stdout.lines().find(|line| line.starts_with("shop ")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["shop", "sdk", "yes", "off", "Our", "shop"]);
    assert!(list.stdout.contains(DEMO_CLIENT_ID), "{list:?}");

    assert_says(&setup.run(&["app", "disable", "--client-id", "shop"]).await, "disabled app shop");
    wait_for_code(&server, "shop", Some("IDAAS.SDK.PARAM.0003")).await;
    assert_says(&setup.run(&["app", "enable", "--client-id", "shop"]).await, "enabled app shop");
    wait_for_code(&server, "shop", None).await;

    let tenant = ["app", "register", "--client-id", "shop", "--name", "Ours", "--kind", "tenant"];
    assert_says(&setup.run(&tenant).await, "updated app shop");
    wait_for_code(&server, "shop", Some("IDAAS.SDK.PARAM.0003")).await;
}

#[tokio::test]
async fn users_are_found_disabled_and_enabled_under_the_running_server() {
    let setup = Setup::new();
    let server = setup.start().await;
    let id = subject(&server.log_in(SEED_TOKEN).await).to_string();

    for form in ["13800000001", "+8613800000001", "+86-13800000001"] {
        let found = setup.run(&["user", "find", "--mobile", form]).await;
        assert_says(&found, &id);
        assert!(found.stdout.contains("active") && !found.stdout.contains("13800000001"), "{found:?}");
    }
    assert_says(&setup.run(&["user", "disable", "--id", &id]).await, &format!("disabled user {id}"));
    wait_for_code(&server, DEMO_CLIENT_ID, Some("IDAAS.SDK.USER.0039")).await;
    assert_says(&setup.run(&["user", "find", "--mobile", "13800000001"]).await, "disabled");
    assert_says(&setup.run(&["user", "enable", "--id", &id]).await, &format!("enabled user {id}"));
    wait_for_code(&server, DEMO_CLIENT_ID, None).await;
}

#[tokio::test]
async fn what_does_not_exist_fails_with_1_and_a_wrong_command_line_with_2() {
    let setup = Setup::new();
    let nobody = "0190b2d2-0000-7000-8000-000000000000";
    for (arguments, text) in [
        (&["app", "disable", "--client-id", "nobodys"][..], "nobodys"),
        (&["app", "enable", "--client-id", "nobodys"], "nobodys"),
        (&["user", "disable", "--id", nobody], nobody),
        (&["user", "enable", "--id", nobody], nobody),
        (&["user", "find", "--mobile", "13912345678"], "139****5678"),
    ] {
        let ran = setup.run(arguments).await;
        assert_fails(&ran, 1, text);
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    }
    for arguments in [
        &["logout"][..],
        &["app"],
        &["app", "register", "--client-id", "shop"],
        &["app", "register", "--client-id", "a shop", "--name", "x"],
        &["app", "register", "--client-id", "shop", "--name", "x", "--kind", "web"],
        &["app", "register", "--client-id", "shop", "--name", "x", "--auto-register", "maybe"],
        &["user", "disable", "--id", "not-an-id"],
        &["user", "find", "--mobile", "12345"],
        &["serve", "--port", "80"],
    ] {
        assert_fails(&setup.run(arguments).await, 2, "");
    }
    assert_eq!(setup.run(&["--version"]).await.stdout, format!("oneclick-login {}\n", env!("CARGO_PKG_VERSION")));
}

/// As with `| head -1`.
#[tokio::test]
async fn a_reader_who_has_gone_is_no_error_of_a_command() {
    let setup = Setup::new();
    setup.start().await.end().await;
    let register = ["app", "register", "--client-id", "shop", "--name", "The shop"];
    for arguments in [&["app", "list"][..], &["config", "print"], &["config", "check"], &["doctor"], &register] {
        let mut command = setup.command(arguments);
        command.stdout(nobody()).stderr(std::process::Stdio::piped());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(141), "{arguments:?}: {said}");
        assert!(!said.contains("error:"), "{arguments:?}: {said}");
        assert!(!said.contains("FAILED"), "{arguments:?}: {said}");
    }
    assert_says(&setup.run(&["app", "list"]).await, "The shop");
}

/// An output that nobody reads.
pub fn nobody() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

#[tokio::test]
async fn config_shows_what_is_in_force_and_no_secret() {
    let secrets = [
        ("DATABASE_URL", "postgres://login:canary-password@db.internal/login", "canary-password"),
        ("ONECLICK_SECRETS__MASTER_KEY", "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E=", "Y2FuYXJ5"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-canary-key-id", "canary-key-id"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary-key-secret", "canary-key-secret"),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", "canary-security-token", "canary-security-token"),
        ("ONECLICK_VERIFIER__ALIYUN__PROXY", "http://me:canary-proxy@proxy.internal:3128", "canary-proxy"),
    ];
    let setup = secrets.iter().fold(Setup::new(), |setup, (name, value, _)| setup.set(name, *value));
    let setup = setup.set("ONECLICK_VERIFIER__PROVIDER", "aliyun").set("ONECLICK_LOGIN__MAX_BATCH", "77");
    let check = setup.run(&["config", "check"]).await;
    assert_says(&check, "settings are valid");
    assert_says(&check, "store postgres, verifier aliyun");
    let print = setup.run(&["config", "print"]).await;
    assert_says(&print, "max_batch = 77");
    assert_says(&print, "db.internal");
    for (name, _, canary) in secrets {
        assert!(!format!("{check:?}{print:?}").contains(canary), "{name}: {print:?}");
    }
    for (name, url) in [
        ("DATABASE_URL", "postgres://db.internal/login?passw%6Frd=canary"),
        ("DATABASE_URL", "postgres://db.internal/login?password=can@ary"),
        ("ONECLICK_VERIFIER__ALIYUN__PROXY", "http://canary@proxy.internal:3128"),
    ] {
        let setup = setup.clone().set(name, url);
        let shown = format!("{:?}{:?}", setup.run(&["config", "print"]).await, setup.run(&["doctor"]).await);
        assert!(!shown.contains("canary") && !shown.contains("@ary"), "{url}: {shown}");
    }
    let broken = setup.set("ONECLICK_LOGIN__MAX_BATCH", "0").run(&["config", "check"]).await;
    assert_fails(&broken, 1, "login.max_batch must be 1 to 1000 (set in the variable ONECLICK_LOGIN__MAX_BATCH)");
}

#[tokio::test]
async fn the_healthcheck_asks_the_running_server() {
    let setup = Setup::new();
    let mut server = setup.start().await;
    server.wait_until_ready().await;
    let asking = setup.clone().set("ONECLICK_SERVER__MANAGEMENT_LISTEN", server.management.to_string());
    assert_says(&asking.run(&["healthcheck"]).await, "ok");
    assert_says(&asking.run(&["healthcheck", "--ready"]).await, "ready");
    // As in a container, where the server listens on all interfaces.
    let everywhere = format!("0.0.0.0:{}", server.management.port());
    let from_inside = asking.clone().set("ONECLICK_SERVER__MANAGEMENT_LISTEN", everywhere);
    assert_says(&from_inside.run(&["healthcheck"]).await, "ok");

    server.end().await;
    assert_fails(&asking.run(&["healthcheck"]).await, 1, "/livez");
    assert_fails(&asking.run(&["healthcheck", "--ready"]).await, 1, "/readyz");
}

#[tokio::test]
async fn the_healthcheck_needs_no_setting_but_the_address() {
    let setup = Setup::new();
    let server = setup.start().await;
    let address = server.management.to_string();
    let broken = setup
        .clone()
        .set("ONECLICK_ENVIRONMENT", "production")
        .set("ONECLICK_SERVER__LISTN", "a key that there is not")
        .set("ONECLICK_SECRETS__MASTER_KEY_FILE", "nowhere");
    let by_variable = broken.clone().set("ONECLICK_SERVER__MANAGEMENT_LISTEN", &address);
    assert_says(&by_variable.set("ONECLICK_CONFIG", "nowhere.toml").run(&["healthcheck"]).await, "ok");

    let by_file = broken.unset("ONECLICK_SERVER__MANAGEMENT_LISTEN");
    let settings = setup.folder().join("settings.toml");
    std::fs::write(&settings, format!("surplus = 1\n[server]\nmanagement_listen = \"{address}\"\n")).unwrap();
    assert_says(&by_file.run(&["--config", "settings.toml", "healthcheck"]).await, "ok");
    let by_variable = by_file.clone().set("ONECLICK_CONFIG", "settings.toml");
    let empty = by_variable.set("ONECLICK_SERVER__MANAGEMENT_LISTEN", "");
    assert_says(&empty.run(&["healthcheck"]).await, "ok");
    assert_fails(&by_file.run(&["--config", "nowhere.toml", "healthcheck"]).await, 1, "nowhere.toml");
    std::fs::write(&settings, "[server]\nmanagement_listen = 9090\n").unwrap();
    let refused = by_file.run(&["--config", "settings.toml", "healthcheck"]).await;
    assert_fails(&refused, 1, "server.management_listen in settings.toml: must be an address and a port");
}

#[tokio::test]
async fn production_starts_on_an_empty_database_only_after_migrate() {
    let database = postgres::empty_database().await;
    let setup = Setup::on(database.url()).in_production();
    for command in [&["serve"][..], &["app", "list"]] {
        let refused = setup.run(command).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("oneclick-login migrate"), "{refused:?}");
    }
    for _ in 0..2 {
        assert_says(&setup.run(&["migrate"]).await, "the postgres schema is up to date");
    }
    assert_says(&setup.run(&["app", "register", "--client-id", "shop", "--name", "The shop"]).await, "registered");
    let mut server = setup.start().await;
    server.wait_until_ready().await;
    let discovery = server.get("/api/v1/oauth2/.well-known/openid-configuration").await.json();
    assert_eq!(discovery["issuer"], Value::from("https://login.example.com/api/v1/oauth2"));
    assert!(!server.stdout().contains("curl"), "{}", server.stdout());
    server.end().await;
}
