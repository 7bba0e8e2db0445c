//! Every endpoint through the real router.
