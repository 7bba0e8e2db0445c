//! The production verifier: Alibaba Cloud's `GetMobile`.
