//! A row of the route table: a path, a method, what answers there, and what is said of it. Nothing is served without
//! being described.

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use utoipa::openapi::HttpMethod;

use super::Http;
use super::openapi::Endpoint;

pub struct Route {
    pub path: &'static str,
    pub method: HttpMethod,
    pub handler: MethodRouter<Http>,
    pub endpoint: &'static Endpoint,
}

impl Route {
    pub fn get<T: 'static>(path: &'static str, handler: impl Handler<T, Http>, endpoint: &'static Endpoint) -> Self {
        Self { path, method: HttpMethod::Get, handler: routing::get(handler), endpoint }
    }

    pub fn post<T: 'static>(path: &'static str, handler: impl Handler<T, Http>, endpoint: &'static Endpoint) -> Self {
        Self { path, method: HttpMethod::Post, handler: routing::post(handler), endpoint }
    }

    pub fn put<T: 'static>(path: &'static str, handler: impl Handler<T, Http>, endpoint: &'static Endpoint) -> Self {
        Self { path, method: HttpMethod::Put, handler: routing::put(handler), endpoint }
    }
}
