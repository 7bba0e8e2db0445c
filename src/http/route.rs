//! A row of the route table: a path, a method, what answers there, and what is said of it. Nothing is served without
//! being described.

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use utoipa::openapi::HttpMethod;

use super::Http;
use super::openapi::Endpoint;
use crate::audit::Act;

pub struct Route {
    pub path: &'static str,
    pub method: HttpMethod,
    pub handler: MethodRouter<Http>,
    pub endpoint: &'static Endpoint,
    /// Each request is an event of the audit stream.
    pub audited: Option<Act>,
}

impl Route {
    pub fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Http>, endpoint: &'static Endpoint) -> Self {
        Self { path, method: HttpMethod::Get, handler: routing::get(handler), endpoint, audited: None }
    }

    pub fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Http>, endpoint: &'static Endpoint) -> Self {
        Self { path, method: HttpMethod::Post, handler: routing::post(handler), endpoint, audited: None }
    }

    pub fn put<T: 'static>(path: &'static str, handler: impl Handler<T, Http>, endpoint: &'static Endpoint) -> Self {
        Self { path, method: HttpMethod::Put, handler: routing::put(handler), endpoint, audited: None }
    }

    pub fn audited(self, act: Act) -> Self {
        Self { audited: Some(act), ..self }
    }
}
