//! What clients ask before they ask for resources: where things are, tokens, subscriptions,
//! providers.

use serde_json::{Value, json};

use super::call::{Call, Reply, decode};
use super::desk::{Backend, Caller, Desk};
use super::policy::TENANT;
use super::token::LIFETIME_SECONDS;
use crate::resource::estate::View;
use crate::resource::{Fault, Kind};

/// Where everything is; without a slash at the end, on which clients' pollers rely.
pub(super) fn metadata(url: &str) -> Reply {
    let cloud = json!({
        "name": "adit",
        "resourceManager": url,
        "portal": url,
        "graph": url,
        "graphAudience": url,
        "microsoftGraphResourceId": url,
        "authentication": {
            "loginEndpoint": url,
            "audiences": [url, "https://management.core.windows.net/"],
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "suffixes": {},
    });
    Reply::of(200, cloud)
}

/// The token endpoint, and how clients find it.
pub(super) fn answer<B: Backend>(
    desk: &Desk<B>,
    call: &Call,
    tenant: &str,
    rest: &[String],
) -> Result<Reply, Fault> {
    let is = |at: usize, word: &str| rest.get(at).is_some_and(|w| w.eq_ignore_ascii_case(word));
    let last = |word: &str| rest.last().is_some_and(|found| found.eq_ignore_ascii_case(word));
    if last("openid-configuration") {
        let at = |what: &str| format!("{}/{tenant}/oauth2/v2.0/{what}", desk.url);
        return Ok(Reply::of(
            200,
            json!({
                "issuer": format!("{}/{tenant}/v2.0", desk.url),
                "authorization_endpoint": at("authorize"),
                "token_endpoint": at("token"),
                "device_authorization_endpoint": at("devicecode"),
                "response_types_supported": ["code"],
                "scopes_supported": ["openid"],
            }),
        ));
    }
    if is(0, "instance") {
        let host = desk.url.trim_start_matches("https://");
        return Ok(Reply::of(
            200,
            json!({
                "tenant_discovery_endpoint":
                    format!("{}/{TENANT}/v2.0/.well-known/openid-configuration", desk.url),
                "api-version": "1.1",
                "metadata": [{
                    "preferred_network": host, "preferred_cache": host, "aliases": [host],
                }],
            }),
        ));
    }
    if last("token") && call.method == "POST" {
        return token(desk, call);
    }
    let message = "only tokens for client credentials are given out here";
    Err(Fault::new(404, "InvalidResourceType", message))
}

/// Client credentials against the file of roles (RFC 6749 4.4).
fn token<B: Backend>(desk: &Desk<B>, call: &Call) -> Result<Reply, Fault> {
    let form = String::from_utf8_lossy(&call.body).into_owned();
    let field = |name: &str| {
        let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(key, _)| *key == name);
        found.next().map(|(_, value)| decode(value))
    };
    let refused = |error: &str, words: &str| {
        Ok(Reply::of(401, json!({ "error": error, "error_description": words })))
    };
    if field("grant_type").as_deref() != Some("client_credentials") {
        return refused("unsupported_grant_type", "use client credentials of the file of roles");
    }
    let identity = field("client_id").unwrap_or_default();
    let offered = field("client_secret").unwrap_or_default();
    let known = desk.policy.secret(&identity).is_some_and(|secret| is_same(secret, &offered));
    if !known {
        return refused("invalid_client", "the file of roles has no such identity and secret");
    }
    let Some((token, _)) = desk.token(Some(&identity)) else {
        return refused("invalid_client", "there is no such identity");
    };
    Ok(Reply::of(
        200,
        json!({
            "token_type": "Bearer",
            "expires_in": LIFETIME_SECONDS,
            "ext_expires_in": LIFETIME_SECONDS,
            "access_token": token,
        }),
    ))
}

/// Compares secrets in a time that depends on neither's content.
fn is_same(secret: &str, offered: &str) -> bool {
    let tag = |text: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
        ring::hmac::sign(&key, text.as_bytes())
    };
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    ring::hmac::verify(&key, offered.as_bytes(), tag(secret).as_ref()).is_ok()
}

/// All tenants that a caller has to do with: its own.
pub(super) fn tenants<B: Backend>(desk: &Desk<B>, caller: &Caller<'_>) -> Reply {
    let tenant = desk.policy.tenant_of(&caller.identity);
    Reply::list(vec![json!({
        "id": format!("/tenants/{tenant}"), "tenantId": tenant, "displayName": "adit",
    })])
}

/// The subscriptions that a caller may see.
pub(super) fn subscriptions<B: Backend>(
    desk: &Desk<B>,
    caller: &Caller<'_>,
    view: View<'_>,
) -> Reply {
    let mut ids: Vec<&str> = view.estate.subscriptions().into_iter().collect();
    ids.extend(desk.policy.subscriptions());
    ids.sort_unstable();
    ids.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
    let seen = ids.into_iter().filter(|id| {
        let known = desk.policy.tenant(id).is_some();
        known && caller.may_read_path(&format!("/subscriptions/{id}"))
    });
    Reply::list(seen.map(|id| subscription(desk, id)).collect())
}

/// One subscription.
pub(super) fn subscription<B: Backend>(desk: &Desk<B>, id: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{id}"),
        "subscriptionId": id,
        "tenantId": desk.policy.tenant(id).unwrap_or(TENANT),
        "displayName": desk.policy.display_name(id),
        "state": "Enabled",
        "subscriptionPolicies": { "spendingLimit": "Off" },
        "authorizationSource": "RoleBased",
    })
}

/// What providers there are: one, registered for all.
pub(super) fn providers(subscription: &str, which: Option<&str>) -> Reply {
    let types = Kind::TYPES.iter().map(|(_, name)| {
        json!({
            "resourceType": name,
            "locations": [],
            "apiVersions": ["2026-03-01", "2025-05-01", "2024-05-01", "2019-04-01"],
        })
    });
    let network = json!({
        "id": format!("/subscriptions/{subscription}/providers/Microsoft.Network"),
        "namespace": "Microsoft.Network",
        "registrationState": "Registered",
        "registrationPolicy": "RegistrationRequired",
        "resourceTypes": types.collect::<Vec<_>>(),
    });
    match which {
        None => Reply::list(vec![network]),
        Some(name) if name.eq_ignore_ascii_case("Microsoft.Network") => Reply::of(200, network),
        Some(name) => {
            let message = format!("there is no resource provider {name:?} here");
            Reply::fault(&Fault::new(404, "InvalidResourceNamespace", message))
        }
    }
}
