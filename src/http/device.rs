//! The header block that every call of a device carries: what the device says of itself, and its application.
//!
//! Two extractors, in the order of the contract's checks: [`DeviceHeaders`], then [`SdkApp`].

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::Http;
use super::error::Failure;
use crate::device::Device;
use crate::error_code::ErrorCode;
use crate::ids::ClientId;
use crate::store::{App, AppKind};

/// A required header of the device: its name as the contract writes it, and the most bytes that are taken of it.
pub(super) struct Required {
    pub name: &'static str,
    pub max_bytes: usize,
}

pub(super) const OPERATING_SYS_VERSION: Required = Required { name: "X-operating-sys-version", max_bytes: 128 };
pub(super) const FINGERPRINT: Required = Required { name: "X-device-fingerprint", max_bytes: 256 };
pub(super) const AGENT: Required = Required { name: "X-agent", max_bytes: 1024 };
pub(super) const DEVICE_IP: &str = "X-device-ip";
pub(super) const CLIENT_ID: &str = "X-client-id";

/// The device, once none of its headers is missing (PARAM.0001) or malformed (COMMON.1002).
#[derive(Debug)]
pub struct DeviceHeaders(pub Device);

/// The application that `X-client-id` names: registered, enabled, and one that may log users in.
#[derive(Debug)]
pub struct SdkApp(pub App);

impl FromRequestParts<Http> for DeviceHeaders {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Http) -> Result<Self, Failure> {
        let headers = &parts.headers;
        let required = [OPERATING_SYS_VERSION, FINGERPRINT, AGENT];
        if required.iter().any(|header| is_blank(headers, header.name)) {
            return Err(Failure::new(ErrorCode::DeviceIncomplete));
        }
        Ok(Self(Device {
            operating_sys_version: recorded_text(headers, &OPERATING_SYS_VERSION)?,
            fingerprint: text(headers, &FINGERPRINT)?,
            agent: recorded_text(headers, &AGENT)?,
            ip: device_ip(headers),
        }))
    }
}

impl FromRequestParts<Http> for SdkApp {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        if is_blank(&parts.headers, CLIENT_ID) {
            return Err(Failure::new(ErrorCode::ClientIdBlank));
        }
        let client_id = claimed_client_id(&parts.headers).ok_or(Failure::format(CLIENT_ID))?;
        tracing::Span::current().record("app.client_id", client_id.as_str());
        let app = http.apps.find(&client_id).await.filter(|app| app.enabled && app.kind == AppKind::Sdk);
        app.map(Self).ok_or(Failure::new(ErrorCode::AppNotRegistered))
    }
}

/// Whatever client id the request names, if it names one.
pub(super) fn claimed_client_id(headers: &HeaderMap) -> Option<ClientId> {
    ClientId::parse(only(headers, CLIENT_ID)?).ok()
}

/// Whatever fingerprint the request has, if it has one of the right form.
pub(super) fn claimed_fingerprint(headers: &HeaderMap) -> Option<&str> {
    let fits = |text: &&str| !text.trim().is_empty() && text.len() <= FINGERPRINT.max_bytes;
    only(headers, FINGERPRINT.name).filter(fits)
}

/// The same limits where a tenant's body carries what a device's headers do.
pub(super) fn check_length(field: &'static str, text: &str) -> Result<(), Failure> {
    let header = if field == "device_fingerprint" { FINGERPRINT } else { OPERATING_SYS_VERSION };
    // A header cannot hold a zero byte, and Postgres' text cannot either.
    let fits = text.len() <= header.max_bytes && !text.contains('\0');
    if fits { Ok(()) } else { Err(Failure::format(field)) }
}

/// No value at all, or nothing but white space in every one.
pub(super) fn is_blank(headers: &HeaderMap, name: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .all(|value| std::str::from_utf8(value.as_bytes()).is_ok_and(|text| text.trim().is_empty()))
}

/// The one value of a header that must not be repeated, if it is UTF-8.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    std::str::from_utf8(only_bytes(headers, name)?).ok()
}

fn only_bytes<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let (first, None) = (values.next()?, values.next()) else { return None };
    Some(first.as_bytes())
}

/// Of a header that is only recorded: what is odd about it must not keep a phone from logging in. Old phones send the name
/// of their model in GBK, so bytes that are no UTF-8 become the replacement character; what is too long is cut.
fn recorded_text(headers: &HeaderMap, header: &Required) -> Result<String, Failure> {
    let bytes = only_bytes(headers, header.name).ok_or(Failure::format(header.name))?;
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.truncate(text.floor_char_boundary(header.max_bytes));
    Ok(text)
}

fn text(headers: &HeaderMap, header: &Required) -> Result<String, Failure> {
    let text = only(headers, header.name).filter(|text| text.len() <= header.max_bytes);
    text.map(str::to_owned).ok_or(Failure::format(header.name))
}

/// Advisory: whatever is not one address counts as absent.
fn device_ip(headers: &HeaderMap) -> Option<IpAddr> {
    only(headers, DEVICE_IP)?.trim().parse().ok()
}
