//! A row of the route table: a path, a method, what answers there, and what is said of it. Nothing is served without
//! being described.

use axum::handler::Handler;
use axum::http::header::ALLOW;
use axum::routing::{self, MethodRouter};
use utoipa::openapi::HttpMethod;

use super::Http;
use super::error::Failure;
use super::openapi::Endpoint;
use crate::audit::Act;
use crate::error_code::ErrorCode;

pub struct Route {
    pub path: &'static str,
    pub method: HttpMethod,
    pub handler: MethodRouter<Http>,
    pub endpoint: &'static Endpoint,
    /// What a call is in the audit log, where it has a place there.
    pub act: Option<Act>,
}

impl Route {
    pub fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Http>, endpoint: &'static Endpoint) -> Self {
        Self::new(path, HttpMethod::Get, routing::get(handler), endpoint)
    }

    pub fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Http>, endpoint: &'static Endpoint) -> Self {
        Self::new(path, HttpMethod::Post, routing::post(handler), endpoint)
    }

    pub fn put<T: 'static>(path: &'static str, handler: impl Handler<T, Http>, endpoint: &'static Endpoint) -> Self {
        Self::new(path, HttpMethod::Put, routing::put(handler), endpoint)
    }

    /// Each call is an event of the audit log.
    pub fn audited(mut self, act: Act) -> Self {
        self.act = Some(act);
        self
    }

    /// For a GET that changes something: axum would answer HEAD by it as well. `allowed` are the path's methods.
    pub fn not_by_head(mut self, allowed: &'static str) -> Self {
        let refuse = move || async move { ([(ALLOW, allowed)], Failure::new(ErrorCode::MethodNotAllowed)) };
        self.handler = self.handler.head(refuse).fallback(refuse);
        self
    }

    fn new(path: &'static str, method: HttpMethod, handler: MethodRouter<Http>, endpoint: &'static Endpoint) -> Self {
        Self { path, method, handler, endpoint, act: None }
    }
}
