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
  const seconds = before ? (view.at_ms - before.at_ms) / 1000 : 0;
  const rate = (name) => {
    const grown = before ? view.status[name] - before.status[name] : 0;
    return seconds > 0 ? Math.max(0, grown) / seconds : 0;
  };
  const measured = { drops: rates(view.drops, before && before.drops, seconds, (d) => d.metric, (d) => d.count) };
  const status = view.status;
  by("summary").textContent = `adit ${status.adit}: ${count(status.flows)} flows, ${Math.round(rate("flows_opened"))} new per second; ${count(Math.round(rate("forwarded")))} packets per second forwarded, ${bits(rate("forwarded_bytes"))}, ${count(Math.round(rate("dropped")))} dropped`;
  connections(view);
  topology(view);
  ports(view);
  drops(view, measured);
  before = view;
};

const connections = (view) => {
  const body = by("connections");
  const focused = document.activeElement && document.activeElement.dataset.decide;
  // Who waits comes first; else the order stays.
  const waits = (endpoint) => (endpoint.connection_state === "Pending" ? 0 : 1);
  const sorted = [...view.endpoints].sort((a, b) => waits(a) - waits(b));
  const rows = sorted.slice(0, ROWS_MAX).map((endpoint) => {
    const row = element("tr");
    row.append(element("th", endpoint.name, { scope: "row" }), element("td", endpoint.virtual_network, { class: "keep" }));
    row.append(element("td", endpoint.private_ip_address, { class: "address" }), element("td", endpoint.private_link_service));
    row.append(element("td", endpoint.connection_state, { class: endpoint.connection_state }));
    row.append(element("td", endpoint.request_message ? `${endpoint.description} (“${endpoint.request_message}”)` : endpoint.description));
    const cell = element("td", undefined, { class: "keep" });
    for (const [decision, state] of [["approve", "Approved"], ["reject", "Rejected"]]) {
      if (endpoint.connection_state === state || endpoint.connection_state === "Disconnected") continue;
      const word = decision === "approve" ? "Approve" : "Reject";
      const button = element("button", word, { type: "button", "aria-label": `${word} ${endpoint.name}` });
      button.dataset.decide = `${decision} ${endpoint.name}`;
      button.addEventListener("click", () => decide(decision, endpoint.name));
      cell.append(button, " ");
    }
    row.append(cell);
    return row;
  });
  if (!rows.length) {
    rows.push(element("tr"));
    rows[0].append(element("td", "There is no private endpoint.", { colspan: 7 }));
  } else if (sorted.length > rows.length) {
    const more = element("tr");
    more.append(prose("td", `${count(sorted.length - rows.length)} more: \`adit endpoints\` has all.`));
    more.firstChild.setAttribute("colspan", 7);
    rows.push(more);
  }
  body.replaceChildren(...rows);
  if (focused) body.querySelector(`[data-decide="${CSS.escape(focused)}"]`)?.focus();
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

// Five columns; what is connected is joined by a curve.
const topology = (view) => {
  const columns = [[], [], [], [], []];
  const heads = ["Consumers", "Endpoints", "Services", "NAT IPs", "Backends"];
  const hidden = columns.map(() => new Set());
  const place = new Map();
  const add = (column, key, title, lines, share) => {
    if (place.has(key)) return;
    if (columns[column].length >= BOXES_MAX) { hidden[column].add(key); return; }
    const node = { column, at: columns[column].length, title, lines, share };
    columns[column].push(node);
    place.set(key, node);
  };
  const joins = [];
  for (const endpoint of view.endpoints) {
    const network = `n ${endpoint.virtual_network}`, own = `e ${endpoint.name}`;
    add(0, network, endpoint.virtual_network, ["virtual network"]);
    add(1, own, endpoint.name, [endpoint.private_ip_address, endpoint.connection_state]);
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
      const sum = nats.get(pool.nat_ip) || { leased: 0, ports: 0, backends: new Set() };
      sum.leased += pool.leased; sum.ports += pool.ports; sum.backends.add(pool.backend);
      nats.set(pool.nat_ip, sum);
    }
    for (const [address, sum] of nats) {
      const nat = `i ${service.virtual_network} ${address}`;
      const share = sum.ports ? 100 * sum.leased / sum.ports : 0;
      add(3, nat, address, [`${count(sum.leased)} ports, ${percent(share)}`], share);
      joins.push([own, nat, ""]);
      for (const backend of sum.backends) {
        const target = `b ${service.virtual_network} ${backend}`;
        const all = service.rules.flatMap((r) => r.backends).filter((b) => b.address === backend);
        const known = all.find((b) => b.probe) || all[0];
        const health = known && known.probe ? `, probe ${known.probe.state}` : "";
        add(4, target, backend, [(known && known.resolved ? "answers" : "not resolved") + health, known && known.takes_flows ? "takes new flows" : "takes no new flows"]);
        const leased = service.nat_ports.some((p) => p.nat_ip === address && p.backend === backend && p.leased > 0);
        joins.push([nat, target, leased ? "busy" : ""]);
      }
    }
  }
  const [width, height, gap, step, top] = [176, 62, 62, 80, 30];
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
    parts.push(shape("rect", { class: "box", x: left, y: upper, width, height, rx: 8 }));
    parts.push(shape("text", { x: left + 10, y: upper + 19 }, node.title));
    node.lines.forEach((line, at) => parts.push(shape("text", { class: "small", x: left + 10, y: upper + 36 + at * 15 }, line)));
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
  by("ports").replaceChildren(...tables);
};

const drops = (view, measured) => {
  const seen = view.drops.filter((drop) => drop.count > 0).sort((a, b) => b.count - a.count);
  const rows = seen.map((drop) => {
    const row = element("tr");
    row.append(element("td", count(drop.count), { class: "number" }), element("td", Math.round(measured.drops.get(drop.metric)), { class: "number" }));
    row.append(element("td"), prose("td", drop.sentence), prose("td", drop.cure));
    row.children[2].append(element("code", drop.metric));
    return row;
  });
  if (!rows.length) {
    rows.push(element("tr"));
    rows[0].append(element("td", "No packet was dropped.", { colspan: 5 }));
  }
  by("drops").replaceChildren(...rows);
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
