"use strict";
// Draws what /api/view says, once a second. Nothing is loaded from elsewhere.

const token = document.querySelector("meta[name=adit-token]").content;
const by = (id) => document.getElementById(id);
let before = null;

const units = (value, step, names) => {
  let at = 0;
  while (value >= step && at < names.length - 1) { value /= step; at += 1; }
  return (value < 10 && at > 0 ? value.toFixed(1) : Math.round(value)) + " " + names[at];
};
const bits = (bytes) => units(bytes * 8, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]);
const bytes = (value) => units(value, 1000, ["B", "kB", "MB", "GB", "TB"]);
const count = (value) => value.toLocaleString("en");
const percent = (share) => (share > 0 && share < 0.1 ? "<0.1" : share.toFixed(1)) + " %";

// Text only ever becomes text: names come from configuration files.
const element = (name, text, attributes) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  return made;
};
const shape = (name, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
};

// Text with `commands` in it, which are shown as such.
const prose = (name, text) => {
  const made = element(name);
  text.split("`").forEach((part, at) => made.append(at % 2 ? element("code", part) : part));
  return made;
};

// Makes the rows of a table those that are wanted. What is the same stays the same element, so that
// whoever reads it, by eye or by ear, does not lose the place.
const settle = (body, wanted) => {
  const old = new Map([...body.children].map((row) => [row.dataset.key, row]));
  const rows = wanted.map((row) => {
    const there = old.get(row.dataset.key);
    if (!there || there.children.length !== row.children.length) return row;
    [...row.children].forEach((cell, at) => {
      const shown = there.children[at];
      if (shown.isEqualNode(cell)) return;
      if (shown.children.length || cell.children.length || shown.className !== cell.className) shown.replaceWith(cell);
      else shown.textContent = cell.textContent;
    });
    return there;
  });
  if (rows.length === body.children.length && rows.every((row, at) => row === body.children[at])) return;
  const focused = document.activeElement;
  body.replaceChildren(...rows);
  if (body.contains(focused)) focused.focus();
};
const line = (key, cells) => {
  const row = element("tr");
  row.dataset.key = key;
  row.append(...cells);
  return row;
};
const remark = (columns, text) => {
  const cell = prose("td", text);
  cell.setAttribute("colspan", columns);
  return line("", [cell]);
};

// Rows and boxes that are drawn at most; a thousand would be no picture, and slow.
const ROWS_MAX = 200;
const BOXES_MAX = 20;

// What a counter grew by in a second.
const rates = (now, then, seconds, key, value) => {
  const old = new Map((then || []).map((item) => [key(item), value(item)]));
  return new Map(now.map((item) => {
    const grown = value(item) - (old.get(key(item)) ?? value(item));
    return [key(item), seconds > 0 ? Math.max(0, grown) / seconds : 0];
  }));
};
const draw = (view) => {
  // Another run counts from nothing.
  if (before && view.status.uptime_seconds < before.status.uptime_seconds) before = null;
  const seconds = before ? (view.at_ms - before.at_ms) / 1000 : 0;
  const rate = (name) => {
    const grown = before ? view.status[name] - before.status[name] : 0;
    return seconds > 0 ? Math.max(0, grown) / seconds : 0;
  };
  const measured = { drops: rates(view.drops, before && before.drops, seconds, (d) => d.metric, (d) => d.count) };
  const status = view.status;
  by("summary").textContent = `adit ${status.adit}: ${count(status.flows)} flows, ${Math.round(rate("flows_opened"))} new per second; ${count(Math.round(rate("forwarded")))} packets per second forwarded, ${bits(rate("forwarded_bytes"))}, ${count(Math.round(rate("dropped")))} dropped`;
  const carried = traffic(view, seconds);
  connections(view);
  topology(view, carried);
  tables(carried);
  ports(view);
  drops(view, measured);
  before = view;
};

const connections = (view) => {
  const body = by("connections");
  // Who waits comes first; else the order stays.
  const waits = (endpoint) => (endpoint.connection_state === "Pending" ? 0 : 1);
  const sorted = [...view.endpoints].sort((a, b) => waits(a) - waits(b));
  const rows = sorted.slice(0, ROWS_MAX).map((endpoint) => {
    const cell = element("td", undefined, { class: "keep" });
    for (const [decision, state] of [["approve", "Approved"], ["reject", "Rejected"]]) {
      if (endpoint.connection_state === state || endpoint.connection_state === "Disconnected") continue;
      const word = decision === "approve" ? "Approve" : "Reject";
      const button = element("button", word, { type: "button", "aria-label": `${word} ${endpoint.name}` });
      button.dataset.decide = `${decision} ${endpoint.name}`;
      button.addEventListener("click", () => decide(decision, endpoint.name));
      cell.append(button, " ");
    }
    return line(endpoint.name, [
      element("th", endpoint.name, { scope: "row" }), element("td", endpoint.virtual_network, { class: "keep" }),
      element("td", endpoint.private_ip_addresses.join(", "), { class: "address" }), element("td", endpoint.private_link_service),
      element("td", endpoint.connection_state, { class: endpoint.connection_state }),
      element("td", endpoint.request_message ? `${endpoint.description} (“${endpoint.request_message}”)` : endpoint.description), cell,
    ]);
  });
  if (!rows.length) rows.push(remark(7, "There is no private endpoint."));
  if (sorted.length > rows.length) rows.push(remark(7, `${count(sorted.length - rows.length)} more: \`adit endpoints\` has all.`));
  settle(body, rows);
};

const decide = async (decision, endpoint) => {
  const said = by("answer");
  try {
    const response = await fetch("/api/decide", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Adit-Token": token },
      body: JSON.stringify({ decision, endpoint }),
    });
    const answer = await response.json();
    said.textContent = response.ok ? `${endpoint} is now ${answer.state}.` : `${answer.message} ${answer.cure}`;
  } catch (error) {
    said.textContent = `adit does not answer: ${error.message}`;
  }
  look();
};

// What was carried since adit started and what is carried in a second, each as four numbers.
const FIELDS = ["bytes_in", "packets_in", "bytes_out", "packets_out"];
const NOTHING = [0, 0, 0, 0];
const plus = (a, b) => a.map((value, at) => value + b[at]);
const minus = (a, b) => a.map((value, at) => Math.max(0, value - b[at]));

// By endpoint, by backend, and by both and protocol.
const traffic = (view, seconds) => {
  const total = (item) => FIELDS.map((field) => item[field]);
  const pace = (now, then) => (seconds > 0 ? minus(now, then).map((value) => value / seconds) : NOTHING);
  const networks = new Map(view.services.map((service) => [service.name, service.virtual_network]));
  const old = new Map((before ? before.endpoints : []).map((endpoint) => [endpoint.link_id, endpoint]));
  const [endpoints, backends, paths] = [new Map(), new Map(), []];
  for (const endpoint of view.endpoints) {
    const then = old.get(endpoint.link_id);
    const sum = total(endpoint.traffic);
    const own = { names: [endpoint.name, endpoint.private_link_service], total: sum, pace: pace(sum, then ? total(then.traffic) : sum) };
    endpoints.set(endpoint.name, own);
    let rest = own.pace;
    // What has no backend comes last: it takes over what others had carried, which is no traffic of now.
    for (const account of [...endpoint.accounts].sort((a, b) => (a.backend === null) - (b.backend === null))) {
      const now = total(account);
      const same = then && then.accounts.find((one) => one.backend === account.backend && one.protocol === account.protocol);
      const path = { names: [endpoint.name, account.backend ?? "others", account.protocol ?? ""], total: now };
      path.pace = account.backend === null ? rest : pace(now, same ? total(same) : then ? NOTHING : now);
      rest = minus(rest, path.pace);
      paths.push(path);
      if (account.backend === null) continue;
      const network = networks.get(endpoint.private_link_service) ?? "";
      const key = `${network} ${account.backend}`;
      const known = backends.get(key) ?? { names: [account.backend, network], total: NOTHING, pace: NOTHING };
      backends.set(key, { ...known, total: plus(known.total, path.total), pace: plus(known.pace, path.pace) });
    }
  }
  return { endpoints, backends, paths };
};

const TABLES = [
  { caption: "By endpoint", heads: ["Endpoint", "Service"], of: (carried) => [...carried.endpoints.values()] },
  { caption: "By backend", heads: ["Backend", "Network"], of: (carried) => [...carried.backends.values()] },
  { caption: "By endpoint, backend and protocol", heads: ["Endpoint", "Backend", "Protocol"], of: (carried) => carried.paths },
];

const trafficTable = ({ caption, heads }) => {
  const [table, head, groups, units] = ["table", "thead", "tr", "tr"].map((name) => element(name));
  groups.append(...heads.map((name) => element("th", name, { scope: "col", rowspan: 2 })));
  for (const group of ["In, per second", "Out, per second", "In, since the start", "Out, since the start"]) {
    groups.append(element("th", group, { scope: "colgroup", colspan: 2 }));
    units.append(element("th", "Bytes", { scope: "col", class: "number" }), element("th", "Packets", { scope: "col", class: "number" }));
  }
  head.append(groups, units);
  table.append(element("caption", caption), head, element("tbody"));
  return table;
};

const tables = (carried) => {
  const place = by("traffic");
  if (!place.children.length) place.append(...TABLES.map(trafficTable));
  TABLES.forEach(({ heads, of }, at) => {
    const all = of(carried).filter(({ total }) => total.some((value) => value > 0));
    all.sort((a, b) => b.total[0] + b.total[2] - a.total[0] - a.total[2]);
    const rows = all.slice(0, ROWS_MAX).map(({ names, total, pace }) => line(names.join(" "), [
      ...names.map((name, column) => element(column ? "td" : "th", name, column ? {} : { scope: "row" })),
      ...pace.map((value, field) => element("td", field % 2 ? count(Math.round(value)) : bytes(value), { class: "number" })),
      ...total.map((value) => element("td", count(value), { class: "number" })),
    ]));
    if (!rows.length) rows.push(remark(heads.length + 8, "No packet was translated yet."));
    if (all.length > rows.length) rows.push(remark(heads.length + 8, `${count(all.length - rows.length)} more: \`adit endpoints --json\` has all.`));
    settle(place.children[at].tBodies[0], rows);
  });
};

// Whom packets reach that are addressed to a target of NAT ports: those behind a frontend that floats, or the backend
// that has this address. One that no rule has any more is a backend still.
const behind = (service, target) => {
  const rules = service.rules.filter((rule) => (rule.floating_ip ?? target) === target);
  const reached = rules.flatMap((rule) => rule.backends.map((backend) => backend.address).filter((address) => rule.floating_ip || address === target));
  return reached.length ? new Set(reached) : [target];
};

// A text of so many characters at most; whoever points at it reads all of it.
const written = (kind, x, y, text, most) => {
  const short = text.length > most ? `${text.slice(0, most - 1)}…` : text;
  const shown = shape("text", { class: kind, x, y }, short);
  if (short !== text) shown.append(shape("title", {}, text));
  return shown;
};

// Five columns; what is connected is joined by a curve.
const topology = (view, carried) => {
  const columns = [[], [], [], [], []];
  const heads = ["Consumers", "Endpoints", "Services", "NAT IPs", "Backends"];
  const hidden = columns.map(() => new Set());
  const place = new Map();
  const add = (column, key, title, lines, share, isDown) => {
    if (place.has(key)) return;
    if (columns[column].length >= BOXES_MAX) { hidden[column].add(key); return; }
    const node = { column, at: columns[column].length, title, lines, share, isDown };
    columns[column].push(node);
    place.set(key, node);
  };
  const flowing = (one) => {
    const [bytesIn, , bytesOut] = one ? one.pace : NOTHING;
    return `in ${bytes(bytesIn)}/s, out ${bytes(bytesOut)}/s`;
  };
  const joins = [];
  for (const endpoint of view.endpoints) {
    const network = `n ${endpoint.virtual_network}`, own = `e ${endpoint.name}`;
    add(0, network, endpoint.virtual_network, ["virtual network"]);
    add(1, own, endpoint.name, [endpoint.private_ip_addresses.join(", "), endpoint.connection_state, flowing(carried.endpoints.get(endpoint.name))]);
    joins.push([network, own, endpoint.connection_state]);
  }
  for (const service of view.services) {
    const own = `s ${service.name}`;
    add(2, own, service.name, [service.virtual_network, service.rules.map((r) => `${r.protocol} ${r.frontend_port}`).join(", ")]);
    for (const name of service.private_endpoints) {
      const endpoint = view.endpoints.find((e) => e.name === name);
      joins.push([`e ${name}`, own, endpoint ? endpoint.connection_state : ""]);
    }
    const nats = new Map();
    for (const pool of service.nat_ports) {
      const sum = nats.get(pool.nat_ip) || { leased: 0, ports: 0, backends: new Map() };
      sum.leased += pool.leased; sum.ports += pool.ports;
      for (const backend of behind(service, pool.backend)) sum.backends.set(backend, sum.backends.get(backend) || pool.leased > 0);
      nats.set(pool.nat_ip, sum);
    }
    for (const [address, sum] of nats) {
      const nat = `i ${service.virtual_network} ${address}`;
      const share = sum.ports ? 100 * sum.leased / sum.ports : 0;
      add(3, nat, address, [`${count(sum.leased)} ports, ${percent(share)}`], share);
      joins.push([own, nat, ""]);
      for (const [backend, leased] of sum.backends) {
        const target = `b ${service.virtual_network} ${backend}`;
        const all = service.rules.flatMap((r) => r.backends).filter((b) => b.address === backend);
        const known = all.find((b) => b.probe) || all[0];
        const health = known && known.probe ? `, probe ${known.probe.state}` : "";
        const lines = [(known && known.resolved ? "answers" : "not resolved") + health, known && known.takes_flows ? "takes new flows" : "takes no new flows"];
        add(4, target, backend, [...lines, flowing(carried.backends.get(`${service.virtual_network} ${backend}`))], undefined, !(known && known.takes_flows));
        joins.push([nat, target, leased ? "busy" : ""]);
      }
    }
  }
  const [width, height, gap, step, top] = [176, 76, 62, 92, 30];
  const rows = Math.max(1, ...columns.map((column) => column.length));
  const full = { width: columns.length * (width + gap) - gap, height: top + rows * step };
  const x = (node) => node.column * (width + gap);
  const y = (node) => top + (node.at + (rows - columns[node.column].length) / 2) * step;
  const svg = by("topology");
  const title = svg.querySelector("title");
  title.textContent = view.endpoints.slice(0, BOXES_MAX).map((e) => `${e.virtual_network} reaches ${e.private_link_service} by ${e.name}, ${e.connection_state}`).join("; ") || "No endpoint";
  svg.setAttribute("viewBox", `-1 0 ${full.width + 2} ${full.height}`);
  svg.setAttribute("width", full.width + 2);
  const parts = [title];
  heads.forEach((head, column) => {
    const more = hidden[column].size ? ` (and ${count(hidden[column].size)} more)` : "";
    parts.push(shape("text", { x: column * (width + gap), y: 16, class: "head" }, head + more));
  });
  for (const [from, to, kind] of joins) {
    const [a, b] = [place.get(from), place.get(to)];
    if (!a || !b) continue;
    const [x1, y1, x2, y2] = [x(a) + width, y(a) + height / 2, x(b), y(b) + height / 2];
    parts.push(shape("path", { class: `link ${kind}`, d: `M${x1} ${y1}C${x1 + gap / 2} ${y1} ${x2 - gap / 2} ${y2} ${x2} ${y2}` }));
  }
  for (const node of columns.flat()) {
    const [left, upper] = [x(node), y(node)];
    const down = node.isDown ? " down" : "";
    parts.push(shape("rect", { class: `box${down}`, x: left, y: upper, width, height, rx: 8 }));
    parts.push(written("", left + 10, upper + 19, node.title, 21));
    node.lines.forEach((line, at) => parts.push(written(`small${down}`, left + 10, upper + 36 + at * 15, line, 27)));
    if (node.share !== undefined) {
      parts.push(shape("rect", { class: "bar-back", x: left + 10, y: upper + 45, width: width - 20, height: 6, rx: 3 }));
      parts.push(shape("rect", { class: "bar", x: left + 10, y: upper + 45, width: Math.max(1, (width - 20) * node.share / 100), height: 6, rx: 3 }));
    }
  }
  svg.replaceChildren(...parts);
};

// A row for each NAT IP and protocol, a column for each backend; the darker the fuller.
const ports = (view) => {
  const tables = view.services.map((service) => {
    const backends = [...new Set(service.nat_ports.map((pool) => pool.backend))];
    const rows = [...new Set(service.nat_ports.map((pool) => `${pool.nat_ip} ${pool.protocol}`))];
    const table = element("table");
    const caption = element("caption", `Service ${service.name}`);
    caption.style.textAlign = "left";
    const head = element("tr");
    head.append(element("th", "NAT IP", { scope: "col" }), ...backends.map((b) => element("th", b, { scope: "col", class: "number" })));
    table.append(caption, head);
    for (const name of rows) {
      const row = element("tr");
      row.append(element("th", name, { scope: "row" }));
      for (const backend of backends) {
        const pool = service.nat_ports.find((p) => `${p.nat_ip} ${p.protocol}` === name && p.backend === backend);
        const share = pool ? 100 * pool.leased / pool.ports : 0;
        const cell = element("td", pool ? `${count(pool.leased)} (${percent(share)})` : "–", { class: share >= 95 ? "heat hot" : share >= 80 ? "heat warm" : "heat" });
        // Never so dark that the text on it could not be read.
        cell.style.setProperty("--heat", `${share > 0 ? Math.min(42, 8 + share * 0.34) : 0}%`);
        row.append(cell);
      }
      table.append(row);
    }
    // Each pool counts every newcomer that found no port in any of them.
    const refused = backends.map((backend) => {
      const of = (protocol) => Math.max(0, ...service.nat_ports.filter((p) => p.backend === backend && p.protocol === protocol).map((p) => p.refused));
      return of("tcp") + of("udp");
    });
    if (refused.some((number) => number > 0)) {
      const row = element("tr");
      row.append(element("th", "Refused", { scope: "row" }));
      refused.forEach((number) => row.append(element("td", count(number), { class: number > 0 ? "number Rejected" : "number" })));
      table.append(row);
    }
    return table;
  });
  if (!tables.length) tables.push(element("p", "There is no private link service."));
  const place = by("ports");
  if (tables.length !== place.children.length || tables.some((table, at) => !table.isEqualNode(place.children[at]))) place.replaceChildren(...tables);
};

const drops = (view, measured) => {
  const seen = view.drops.filter((drop) => drop.count > 0).sort((a, b) => b.count - a.count);
  const rows = seen.map((drop) => {
    const reason = element("td");
    reason.append(element("code", drop.metric));
    return line(drop.metric, [
      element("td", count(drop.count), { class: "number" }), element("td", Math.round(measured.drops.get(drop.metric)), { class: "number" }),
      reason, prose("td", drop.sentence), prose("td", drop.cure),
    ]);
  });
  if (!rows.length) rows.push(remark(5, "No packet was dropped."));
  settle(by("drops"), rows);
};

const look = async () => {
  const lost = by("lost");
  try {
    const response = await fetch("/api/view", { cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    draw(await response.json());
    lost.hidden = true;
    document.body.dataset.ready = "yes";
  } catch (error) {
    lost.hidden = false;
    lost.textContent = `adit does not answer (${error.message}); what is shown is old.`;
  }
};
look();
setInterval(look, 1000);
