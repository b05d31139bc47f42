//! Azure's limits on Private Link, and the codes with which it refuses what is beyond them.
//!
//! Sources: the Private Link FAQ, the table of networking limits, and the API's own description.

use std::ops::RangeInclusive;

/// How many of something there may be, and the code of one too many.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// What is counted.
    pub what: &'static str,
    /// The most.
    pub most: usize,
    /// The code of the refusal.
    pub code: &'static str,
}

const fn limit(what: &'static str, most: usize, code: &'static str) -> Limit {
    Limit { what, most, code }
}

/// Private endpoints of one virtual network.
pub const ENDPOINTS_PER_NETWORK: Limit =
    limit("private endpoints of a virtual network", 1000, "PrivateEndpointsPerVnetLimitReached");
/// The same, where the network's `privateEndpointVNetPolicies` is `Basic` (high scale).
pub const ENDPOINTS_PER_NETWORK_AT_SCALE: Limit =
    limit("private endpoints of a virtual network", 5000, "PrivateEndpointsPerVnetLimitReached");
/// Private endpoints of one subscription.
pub const ENDPOINTS_PER_SUBSCRIPTION: Limit = limit(
    "private endpoints of a subscription",
    64_000,
    "PrivateEndpointsPerSubscriptionLimitReached",
);
/// Private link services of one subscription.
pub const SERVICES_PER_SUBSCRIPTION: Limit = limit(
    "private link services of a subscription",
    800,
    "PrivateLinkServicesPerSubscriptionLimitReached",
);
/// Private link services of one load balancer.
pub const SERVICES_PER_BALANCER: Limit = limit(
    "private link services of a load balancer",
    8,
    "PrivateLinkServicesPerLoadBalancerLimitReached",
);
/// NAT IP configurations of one private link service.
pub const NAT_IPS_PER_SERVICE: Limit = limit(
    "IP configurations of a private link service",
    8,
    "PrivateLinkServiceIpConfigurationsLimitReached",
);
/// Private endpoints of one private link service.
pub const ENDPOINTS_PER_SERVICE: Limit = limit(
    "private endpoint connections of a private link service",
    1000,
    "PrivateEndpointConnectionsPerPrivateLinkServiceLimitReached",
);
/// Subscriptions in a list of visibility or auto-approval.
pub const SUBSCRIPTIONS_PER_LIST: Limit =
    limit("subscriptions of such a list", 100, "PrivateLinkServiceSubscriptionsLimitReached");
/// Rules of one network security group.
pub const RULES_PER_SECURITY_GROUP: Limit = limit(
    "rules of a network security group",
    crate::config::RULES_MAX,
    "SecurityRulesPerNetworkSecurityGroupLimitReached",
);
/// Private endpoints of one application security group.
pub const ENDPOINTS_PER_APP_GROUP: Limit = limit(
    "private endpoints of an application security group",
    50,
    "PrivateEndpointsPerApplicationSecurityGroupLimitReached",
);
/// Peerings of one virtual network.
pub const PEERINGS_PER_NETWORK: Limit = limit(
    "peerings of a virtual network",
    crate::config::PEERINGS_MAX,
    "PeeringsPerVirtualNetworkLimitReached",
);
/// Characters of a request message.
pub const REQUEST_MESSAGE: Limit =
    limit("characters of a request message", 140, "PrivateEndpointRequestMessageTooLong");

/// Addresses at the start of a subnet that nobody gets.
pub const RESERVED_FIRST: u32 = 4;
/// Lengths of a subnet's prefix of IPv4.
pub const SUBNET_LENGTHS: RangeInclusive<u8> = 2..=29;
/// Lengths of a subnet's prefix of IPv6.
pub const SUBNET_LENGTHS_IPV6: RangeInclusive<u8> = 64..=64;

impl Limit {
    /// Refuses a count beyond the limit.
    ///
    /// # Errors
    /// It is.
    pub fn check(&self, field: &str, count: usize) -> Result<(), super::Fault> {
        if count <= self.most {
            return Ok(());
        }
        let rule = format!("there would be {count} {}, and {} is the most", self.what, self.most);
        Err(super::Fault::rule(self.code, field, rule, "remove some first, or use another"))
    }
}
