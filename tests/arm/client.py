"""Drives adit's API with Azure's own client, one step for each line of standard input.

A line is the name of a step and its arguments; the answer is one line of JSON: what came of it, or
Azure's error code. Runs under every release of azure-mgmt-network whose models have the names below.
"""

import json
import os
import sys

from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.network import models as m

REGION = "eastus"
GROUP = "net"
SUBSCRIPTION = os.environ["ADIT_ARM_SUBSCRIPTION"]
NETWORK = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network"
FRONTEND = f"{NETWORK}/loadBalancers/lb/frontendIPConfigurations/front"
POOL = f"{NETWORK}/loadBalancers/lb/backendAddressPools/all"
SERVICE = f"{NETWORK}/privateLinkServices/web"


class Credential:
    """The stub that the documentation speaks of."""

    def get_token(self, *scopes, **options):
        return AccessToken(os.environ["ADIT_ARM_TOKEN"], 4102444800)


client = NetworkManagementClient(
    Credential(),
    SUBSCRIPTION,
    base_url=os.environ["ADIT_ARM_ENDPOINT"],
    credential_scopes=["https://management.core.windows.net/.default"],
    connection_verify=os.environ["ADIT_ARM_CA"],
)
services = client.private_link_services
endpoints = client.private_endpoints


def subnet(name, prefix, **more):
    return m.Subnet(name=name, address_prefix=prefix, **more)


def network(name, space, subnets):
    parameters = m.VirtualNetwork(
        location=REGION, address_space=m.AddressSpace(address_prefixes=space), subnets=subnets
    )
    made = client.virtual_networks.begin_create_or_update(GROUP, name, parameters).result()
    assert made.provisioning_state == "Succeeded", made.provisioning_state


def networks():
    open_subnet = {"private_link_service_network_policies": "Disabled"}
    plans = {
        "a": ("10.0.0.0/16", [subnet("endpoints", "10.0.0.0/24")]),
        "b": ("10.0.0.0/16", [subnet("endpoints", "10.0.0.0/24")]),
        "provider": (
            "10.1.0.0/16",
            [subnet("nat", "10.1.0.0/29", **open_subnet), subnet("front", "10.1.1.0/24")],
        ),
    }
    for name, (space, subnets) in plans.items():
        network(name, [space], subnets)
    extra = subnet("more", "10.1.2.0/24")
    client.subnets.begin_create_or_update(GROUP, "provider", "more", extra).result()
    return sorted(network.name for network in client.virtual_networks.list(GROUP))


def put_balancer(backends, rules, probes=(), version=None):
    """The load balancer, with one frontend and one pool."""
    parameters = m.LoadBalancer(
        location=REGION,
        sku=m.LoadBalancerSku(name="Standard"),
        frontend_ip_configurations=[
            m.FrontendIPConfiguration(
                name="front",
                subnet=m.Subnet(id=f"{NETWORK}/virtualNetworks/provider/subnets/front"),
                private_ip_address_version=version,
            )
        ],
        backend_address_pools=[
            m.BackendAddressPool(name="all", load_balancer_backend_addresses=addresses(*backends))
        ],
        probes=list(probes),
        load_balancing_rules=rules,
    )
    return client.load_balancers.begin_create_or_update(GROUP, "lb", parameters).result()


def rule(name, front, back, **more):
    return m.LoadBalancingRule(
        name=name,
        protocol="Tcp",
        frontend_port=front,
        backend_port=back,
        frontend_ip_configuration=m.SubResource(id=FRONTEND),
        backend_address_pool=m.SubResource(id=POOL),
        **more,
    )


def balancer(*backends):
    made = put_balancer(backends, [rule("http", 80, 8080), rule("echo", 7, 7007)])
    return made.frontend_ip_configurations[0].private_ip_address


def part(kind, name):
    return m.SubResource(id=f"{NETWORK}/loadBalancers/lb/{kind}/{name}")


def addresses(*backends):
    """Backends, each of which may have a state behind its address: 10.1.0.10=Down."""
    pairs = [backend.partition("=") for backend in backends]
    return [
        m.LoadBalancerBackendAddress(name=f"b{at}", ip_address=address, admin_state=state or None)
        for at, (address, _, state) in enumerate(pairs)
    ]


def rich(*backends):
    """A load balancer with everything: a probe, a port for each backend, rules without a probe."""
    health = m.Probe(
        name="health",
        protocol="Http",
        port=8080,
        request_path="/health",
        interval_in_seconds=5,
        number_of_probes=1,
        probe_threshold=1,
    )
    rules = [
        rule("http", 80, 8080, probe=part("probes", "health"), load_distribution="Default"),
        rule("echo", 7, 7007, idle_timeout_in_minutes=15, enable_tcp_reset=True),
        rule("strict", 9200, 9201, disable_outbound_snat=True),
    ]
    put_balancer(backends, rules, [health])
    nat = m.InboundNatRule(
        frontend_ip_configuration=m.SubResource(id=FRONTEND),
        backend_address_pool=m.SubResource(id=POOL),
        protocol="Tcp",
        frontend_port_range_start=5000,
        frontend_port_range_end=5009,
        backend_port=8080,
    )
    client.inbound_nat_rules.begin_create_or_update(GROUP, "lb", "direct", nat).result()
    return parts()


def parts():
    """What is seen of a load balancer's parts, each asked by itself."""
    found = client.load_balancer_backend_address_pools.get(GROUP, "lb", "all")
    ports = {}
    for backend in found.load_balancer_backend_addresses:
        asked = m.QueryInboundNatRulePortMappingRequest(ip_address=backend.ip_address)
        mapped = client.load_balancers.begin_list_inbound_nat_rule_port_mappings(
            GROUP, "lb", "all", asked
        ).result()
        ports[backend.ip_address] = [
            mapping.frontend_port for mapping in mapped.inbound_nat_rule_port_mappings
        ]
    rule = client.load_balancer_load_balancing_rules.get(GROUP, "lb", "http")
    frontends = client.load_balancer_frontend_ip_configurations.list(GROUP, "lb")
    pools = client.load_balancer_backend_address_pools.list(GROUP, "lb")
    return {
        "ports": ports,
        "states": [backend.admin_state for backend in found.load_balancer_backend_addresses],
        "drain": found.drain_period_in_seconds,
        "probe": rule.probe.id.split("/")[-1],
        "probes": [probe.name for probe in client.load_balancer_probes.list(GROUP, "lb")],
        "path": client.load_balancer_probes.get(GROUP, "lb", "health").request_path,
        "nat_rules": [rule.name for rule in client.inbound_nat_rules.list(GROUP, "lb")],
        "frontends": [frontend.name for frontend in frontends],
        "pools": [pool.name for pool in pools],
    }


def pool(drain, *backends):
    parameters = client.load_balancer_backend_address_pools.get(GROUP, "lb", "all")
    parameters.drain_period_in_seconds = int(drain)
    parameters.load_balancer_backend_addresses = addresses(*backends)
    client.load_balancer_backend_address_pools.begin_create_or_update(
        GROUP, "lb", "all", parameters
    ).result()
    return parts()


def delete_part(kind, of, name):
    operations = getattr(client, kind)
    operations.begin_delete(GROUP, of, name).result()
    return [found.name for found in operations.list(GROUP, of)]


def inbound(access, priority, port, **more):
    more = more or {"destination_address_prefix": "*"}
    return m.SecurityRule(
        protocol="Tcp",
        source_address_prefix="VirtualNetwork",
        source_port_range="*",
        destination_port_range=port,
        access=access,
        priority=int(priority),
        direction="Inbound",
        **more,
    )


def guard(access, port, policies="NetworkSecurityGroupEnabled"):
    """A group with a rule about a port, which the subnet of network a names."""
    rule = inbound(access, 100, port)
    rule.name = "port"
    parameters = m.NetworkSecurityGroup(location=REGION, security_rules=[rule])
    groups = client.network_security_groups
    made = groups.begin_create_or_update(GROUP, "guard", parameters).result()
    parameters = client.subnets.get(GROUP, "a", "endpoints")
    parameters.network_security_group = m.NetworkSecurityGroup(id=made.id)
    parameters.private_endpoint_network_policies = policies
    client.subnets.begin_create_or_update(GROUP, "a", "endpoints", parameters).result()
    found = groups.get(GROUP, "guard")
    return {
        "rules": [rule.name for rule in client.security_rules.list(GROUP, "guard")],
        "default": [rule.name for rule in client.default_security_rules.list(GROUP, "guard")],
        "subnets": [subnet.id.split("/")[-1] for subnet in found.subnets],
        "listed": [found.name for found in groups.list_all()],
    }


def security_rule(name, access, priority, port):
    rules = client.security_rules
    parameters = inbound(access, priority, port)
    return rules.begin_create_or_update(GROUP, "guard", name, parameters).result().access


def members(name, access, priority, port):
    """A rule about the members of an application security group, which an endpoint then joins."""
    groups = client.application_security_groups
    group = m.ApplicationSecurityGroup(location=REGION)
    made = groups.begin_create_or_update(GROUP, "web", group).result()
    named = [m.ApplicationSecurityGroup(id=made.id)]
    rule = inbound(access, priority, port, destination_application_security_groups=named)
    client.security_rules.begin_create_or_update(GROUP, "guard", "members", rule).result()
    parameters = endpoints.get(GROUP, name)
    parameters.application_security_groups = named
    made = endpoints.begin_create_or_update(GROUP, name, parameters).result()
    tags = client.network_security_groups.update_tags(GROUP, "guard", m.TagsObject(tags={"a": "b"}))
    return {"groups": len(made.application_security_groups), "tags": dict(tags.tags)}


def proxy(on):
    parameters = services.get(GROUP, "web")
    parameters.enable_proxy_protocol = on == "on"
    made = services.begin_create_or_update(GROUP, "web", parameters).result()
    return made.enable_proxy_protocol


def service(visible="", approved="", network="nat"):
    listed = lambda text: [entry for entry in text.split(",") if entry and entry != "-"]
    parameters = m.PrivateLinkService(
        location=REGION,
        load_balancer_frontend_ip_configurations=[m.FrontendIPConfiguration(id=FRONTEND)],
        ip_configurations=[
            m.PrivateLinkServiceIpConfiguration(
                name=name,
                subnet=m.Subnet(id=f"{NETWORK}/virtualNetworks/provider/subnets/{network}"),
            )
            for name in ("nat-1", "nat-2")
        ],
        visibility=m.PrivateLinkServicePropertiesVisibility(subscriptions=listed(visible)),
        auto_approval=m.PrivateLinkServicePropertiesAutoApproval(subscriptions=listed(approved)),
    )
    made = services.begin_create_or_update(GROUP, "web", parameters).result()
    return {
        "alias": made.alias,
        "nat_ips": [ip.private_ip_address for ip in made.ip_configurations],
        "listed": [found.name for found in services.list(GROUP)],
    }


def endpoint(name, network, address="", target=SERVICE):
    connection = m.PrivateLinkServiceConnection(
        name="to-web", private_link_service_id=target, request_message="Please approve"
    )
    static = [
        m.PrivateEndpointIPConfiguration(
            name="ip", private_ip_address=address, group_id="", member_name=""
        )
    ]
    parameters = m.PrivateEndpoint(
        location=REGION,
        subnet=m.Subnet(id=f"{NETWORK}/virtualNetworks/{network}/subnets/endpoints"),
        manual_private_link_service_connections=[connection],
        ip_configurations=static if address else [],
    )
    endpoints.begin_create_or_update(GROUP, name, parameters).result()
    return consumer(name)


def consumer(name):
    """The consumer's view of a connection."""
    found = endpoints.get(GROUP, name)
    connections = found.private_link_service_connections or []
    connections = connections + (found.manual_private_link_service_connections or [])
    state = connections[0].private_link_service_connection_state
    nic = client.network_interfaces.get(GROUP, found.network_interfaces[0].id.split("/")[-1])
    return {
        "state": state.status,
        "description": state.description,
        "address": nic.ip_configurations[0].private_ip_address,
    }


def of_endpoint(name):
    wanted = f"{NETWORK}/privateEndpoints/{name}".lower()
    for connection in services.list_private_endpoint_connections(GROUP, "web"):
        if connection.private_endpoint.id.lower() == wanted:
            return connection
    return None


def provider(name):
    """The provider's view of a connection."""
    connection = of_endpoint(name)
    if connection is None:
        return None
    state = connection.private_link_service_connection_state
    return {"state": state.status, "link": connection.link_identifier, "name": connection.name}


def decide(name, status):
    connection = of_endpoint(name)
    connection.private_link_service_connection_state = m.PrivateLinkServiceConnectionState(
        status=status, description=f"{status} by the test", actions_required="None"
    )
    services.update_private_endpoint_connection(GROUP, "web", connection.name, connection)
    return provider(name)


def invent():
    """A provider cannot make a connection."""
    connection = m.PrivateEndpointConnection(
        private_link_service_connection_state=m.PrivateLinkServiceConnectionState(status="Approved")
    )
    services.update_private_endpoint_connection(GROUP, "web", "nobody.0", connection)


def remove(name):
    connection = of_endpoint(name).name
    services.begin_delete_private_endpoint_connection(GROUP, "web", connection).result()
    return provider(name)


def delete(kind, name):
    operations = getattr(client, kind)
    operations.begin_delete(GROUP, name).result()
    return [found.name for found in operations.list(GROUP)]


def around():
    """What clients ask besides."""
    alias = services.get(GROUP, "web").alias
    request = m.CheckPrivateLinkServiceVisibilityRequest(private_link_service_alias=alias)
    check = services.begin_check_private_link_service_visibility(REGION, request).result()
    approved = services.list_auto_approved_private_link_services(REGION)
    return {
        "visible": check.visible,
        "auto_approved": [found.private_link_service for found in approved],
        "types": [found.name for found in client.available_private_endpoint_types.list(REGION)],
        "all_services": [found.name for found in services.list_by_subscription()],
        "all_endpoints": [found.name for found in endpoints.list_by_subscription()],
    }


def dual_networks():
    """Networks whose subnets have both families."""
    dual = lambda name, *prefixes, **more: m.Subnet(name=name, address_prefixes=prefixes, **more)
    open_subnet = {"private_link_service_network_policies": "Disabled"}
    network("a", ["10.0.0.0/16", "fd00::/48"], [dual("endpoints", "10.0.0.0/24", "fd00::/64")])
    subnets = [
        dual("nat", "10.1.0.0/29", "fd01::/64", **open_subnet),
        dual("front", "10.1.1.0/24", "fd01:0:0:1::/64"),
    ]
    network("provider", ["10.1.0.0/16", "fd01::/48"], subnets)
    return client.subnets.get(GROUP, "a", "endpoints").address_prefixes


def dual_subnet(prefix):
    parameters = m.Subnet(address_prefixes=["10.0.9.0/24", prefix])
    client.subnets.begin_create_or_update(GROUP, "a", "more", parameters).result()


def dual_balancer(port, *backends):
    """A frontend of IPv6 before backends of both families."""
    health = m.Probe(
        name="health", protocol="Http", port=int(port), request_path="/hello", interval_in_seconds=5
    )
    rules = [rule("http", 80, int(port), probe=part("probes", "health"))]
    made = put_balancer(backends, rules, [health], "IPv6").frontend_ip_configurations[0]
    return [made.private_ip_address, made.private_ip_address_version]


def dual_service(*versions):
    parameters = m.PrivateLinkService(
        location=REGION,
        load_balancer_frontend_ip_configurations=[m.FrontendIPConfiguration(id=FRONTEND)],
        ip_configurations=[
            m.PrivateLinkServiceIpConfiguration(
                name=f"nat-{version}",
                subnet=m.Subnet(id=f"{NETWORK}/virtualNetworks/provider/subnets/nat"),
                private_ip_address_version=version,
            )
            for version in versions
        ],
        fqdns=["web.example"],
    )
    made = services.begin_create_or_update(GROUP, "web", parameters).result()
    return [[ip.private_ip_address, ip.private_ip_address_version] for ip in made.ip_configurations]


def dual_endpoint(name, version, *static):
    """An endpoint of IPv6, or of both families."""
    connection = m.PrivateLinkServiceConnection(name="to-web", private_link_service_id=SERVICE)
    parameters = m.PrivateEndpoint(
        location=REGION,
        ip_version_type=version,
        subnet=m.Subnet(id=f"{NETWORK}/virtualNetworks/a/subnets/endpoints"),
        manual_private_link_service_connections=[connection],
        ip_configurations=[
            m.PrivateEndpointIPConfiguration(
                name=f"ip-{at}", private_ip_address=address, group_id="", member_name=""
            )
            for at, address in enumerate(static)
        ],
    )
    made = endpoints.begin_create_or_update(GROUP, name, parameters).result()
    nic = client.network_interfaces.get(GROUP, made.network_interfaces[0].id.split("/")[-1])
    found = nic.ip_configurations
    return [
        made.ip_version_type,
        [[ip.private_ip_address, ip.private_ip_address_version] for ip in found],
    ]


STEPS = [networks, balancer, service, endpoint, consumer, provider, decide, invent, remove]
STEPS += [rich, parts, pool, delete_part, guard, security_rule, members, proxy, delete, around]
STEPS += [dual_networks, dual_subnet, dual_balancer, dual_service, dual_endpoint]
STEPS = {step.__name__: step for step in STEPS}

for line in sys.stdin:
    step, *arguments = line.split()
    try:
        answer = {"ok": STEPS[step](*arguments)}
    except HttpResponseError as error:
        answer = {"code": error.error.code if error.error else None, "message": str(error)}
    print(json.dumps(answer), flush=True)
