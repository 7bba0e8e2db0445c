//! What a configuration may say.

use std::time::Duration;

use oneclick_login::verifier::aliyun::{AliyunVerifier, Config, ConfigError};

use super::{clock, config};

fn refusal(config: Config) -> ConfigError {
    AliyunVerifier::new(config, clock()).expect_err("this configuration is wrong")
}

#[tokio::test]
async fn an_endpoint_is_an_http_origin_and_nothing_more() {
    for good in
        ["https://dypnsapi.aliyuncs.com", "https://dypnsapi.aliyuncs.com/", "http://127.0.0.1:8080", "http://[::1]:80"]
    {
        assert!(AliyunVerifier::new(config(good), clock()).is_ok(), "{good}");
    }
    for bad in [
        "",
        "dypnsapi.aliyuncs.com",
        "//dypnsapi.aliyuncs.com",
        "ftp://dypnsapi.aliyuncs.com",
        "https://",
        "https://dypnsapi.aliyuncs.com/path",
        "https://dypnsapi.aliyuncs.com?query",
        "https://dypnsapi.aliyuncs.com/#fragment",
        "https://user@dypnsapi.aliyuncs.com",
        "https://:canary@dypnsapi.aliyuncs.com",
        "https://dypnsapi.aliyuncs.com:99999",
    ] {
        let error = refusal(config(bad));
        assert!(matches!(error, ConfigError::Endpoint), "{bad}: {error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[tokio::test]
async fn a_proxy_is_an_http_url_and_its_password_is_not_shown() {
    let with_proxy = |proxy: &str| Config { proxy: Some(proxy.to_owned()), ..config("https://dypnsapi.aliyuncs.com") };
    assert!(!format!("{:?}", with_proxy("http://user:canary@proxy.test:3128")).contains("canary"));
    let verifier = AliyunVerifier::new(with_proxy("http://user:canary@proxy.test:3128"), clock()).unwrap();
    assert!(!format!("{verifier:?}").contains("canary"));
    for bad in ["", "proxy.test:3128", "socks5://proxy.test", "http://canary@", "http://u:canary@proxy.test:x"] {
        let error = refusal(with_proxy(bad));
        assert!(matches!(error, ConfigError::Proxy), "{bad}: {error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[tokio::test]
async fn the_connect_timeout_is_shorter_than_the_whole_and_neither_is_zero() {
    let second = Duration::from_secs(1);
    for (timeout, connect_timeout) in [(second, second), (second, 2 * second), (second, Duration::ZERO)] {
        let config = Config { timeout, connect_timeout, ..config("https://dypnsapi.aliyuncs.com") };
        assert!(matches!(refusal(config), ConfigError::Timeouts));
    }
}

#[tokio::test]
async fn at_least_one_call_may_be_in_flight() {
    for max_in_flight in [0, usize::MAX] {
        let config = Config { max_in_flight, ..config("https://dypnsapi.aliyuncs.com") };
        assert!(matches!(refusal(config), ConfigError::MaxInFlight));
    }
}
