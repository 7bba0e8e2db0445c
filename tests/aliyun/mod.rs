//! The Alibaba Cloud client against a mock peer.
