//! The verifier that the settings name, and what signs its calls.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::clock::Clock;
use crate::metrics::VerifierMetrics;
use crate::settings::{CredentialsKind, Provider, Settings};
use crate::verifier::PhoneNumberVerifier;
use crate::verifier::aliyun::{
    self, AliyunVerifier, Credentials, CredentialsSource, EcsConfig, EcsRole, InvalidCredentials, OidcConfig, OidcRole,
    RefreshedCredentials, Role, StaticCredentials,
};
use crate::verifier::guard::Guard;
use crate::verifier::sandbox::SandboxVerifier;

/// To read the OIDC token's file and to get the STS's answer, which takes about 100 ms.
const STS_TIMEOUT: Duration = Duration::from_secs(5);

/// For three requests to an address of the instance's own host.
const ECS_METADATA_TIMEOUT: Duration = Duration::from_secs(3);

/// A verifier that is ready for calls.
#[derive(Clone)]
pub struct Guarded {
    pub verifier: Arc<dyn PhoneNumberVerifier>,
    /// What stands in front of it, where it is somebody else's.
    pub guard: Option<Arc<Guard>>,
}

/// The verifier that the settings name. `role` is what [`role_credentials`] gave.
pub fn open(
    settings: &Settings,
    clock: &Clock,
    role: Option<&Arc<RefreshedCredentials>>,
    metrics: &VerifierMetrics,
) -> Result<Guarded, StartError> {
    // Every call is that of a login which has a place, so there are never more.
    let limit = settings.login.max_in_flight;
    Ok(match settings.verifier.provider {
        Provider::Sandbox => {
            Guarded { verifier: Arc::new(metrics.meter(Arc::new(SandboxVerifier::new()), limit)), guard: None }
        }
        Provider::Aliyun => {
            let limit = limit.min(settings.verifier.aliyun.max_in_flight);
            let metered = metrics.meter(Arc::new(aliyun(settings, clock, role)?), limit);
            let guard = Arc::new(Guard::new(Arc::new(metered)));
            Guarded { verifier: Arc::clone(&guard) as _, guard: Some(guard) }
        }
    })
}

/// The client of Alibaba Cloud. `role` is what [`role_credentials`] gave.
pub fn aliyun(
    settings: &Settings,
    clock: &Clock,
    role: Option<&Arc<RefreshedCredentials>>,
) -> Result<AliyunVerifier, StartError> {
    let credentials: Arc<dyn CredentialsSource> = match role {
        Some(role) => Arc::clone(role) as _,
        None => Arc::new(static_credentials(settings)?),
    };
    Ok(AliyunVerifier::new(aliyun_config(settings, credentials), clock.clone())?)
}

fn aliyun_config(settings: &Settings, credentials: Arc<dyn CredentialsSource>) -> aliyun::Config {
    let aliyun = &settings.verifier.aliyun;
    aliyun::Config {
        endpoint: aliyun.endpoint.clone(),
        timeout: Duration::from_millis(aliyun.timeout_ms),
        connect_timeout: Duration::from_millis(aliyun.connect_timeout_ms),
        max_in_flight: aliyun.max_in_flight,
        proxy: aliyun.proxy.clone(),
        credentials,
    }
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded").field("guard", &self.guard).finish_non_exhaustive()
    }
}

fn static_credentials(settings: &Settings) -> Result<StaticCredentials, InvalidCredentials> {
    let aliyun = &settings.verifier.aliyun;
    let id = aliyun.access_key_id.as_deref().unwrap_or_default();
    let secret = aliyun.access_key_secret.clone().unwrap_or_default();
    Credentials::new(id, secret, aliyun.security_token.clone()).map(StaticCredentials::new)
}

/// The credentials of a role, if it is one that signs; nobody has been asked for them yet.
pub fn role_credentials(settings: &Settings, clock: &Clock) -> Result<Option<Arc<RefreshedCredentials>>, StartError> {
    let aliyun = &settings.verifier.aliyun;
    let role = match (settings.verifier.provider, aliyun.credentials_kind()) {
        (Provider::Sandbox, _) | (Provider::Aliyun, CredentialsKind::Static) => return Ok(None),
        (Provider::Aliyun, CredentialsKind::Oidc) => {
            let config = OidcConfig {
                endpoint: aliyun.sts_endpoint.clone(),
                timeout: STS_TIMEOUT,
                proxy: aliyun.proxy.clone(),
                role_arn: aliyun.role_arn.clone().unwrap_or_default(),
                provider_arn: aliyun.oidc_provider_arn.clone().unwrap_or_default(),
                token_path: aliyun.oidc_token_path.clone().unwrap_or_default(),
                session_name: aliyun.role_session_name.clone(),
            };
            Role::Oidc(OidcRole::new(config, clock.clone())?)
        }
        (Provider::Aliyun, CredentialsKind::Ecs) => {
            let config = EcsConfig {
                endpoint: aliyun.ecs_metadata_endpoint.clone(),
                timeout: ECS_METADATA_TIMEOUT,
                role: aliyun.ecs_role.clone(),
            };
            Role::Ecs(EcsRole::new(config, clock.clone())?)
        }
    };
    Ok(Some(Arc::new(RefreshedCredentials::new(role, clock.clone()))))
}
