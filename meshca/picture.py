"""The chain of trust of a posture as a Mermaid picture, for pull requests and docs/rotation.md."""

from collections.abc import Callable, Mapping

from meshca.rotation import Identity, Intermediate, Phase, Posture, posture


def chain_of_trust(
    shown: Posture, roots: Mapping[Identity, Identity], name: Callable[[Identity], str]
) -> str:
    """Mermaid source: roots that are trusted, issuers handed out as chain, and who signs leaves.

    `roots` maps every issuer of the posture to its root. A root in dashes is not trusted, an
    issuer with a dashed line to the leaves does not sign.
    """
    issuers = sorted(shown.chain, key=name)
    above = list(dict.fromkeys(roots[issuer] for issuer in issuers))
    lines = ["flowchart LR", "  subgraph trust [trusted: root-cert]", "    direction TB"]
    lines += [f'    {_node("root", name(root))}["root {name(root)}"]' for root in shown.trust]
    lines.append("  end")
    lines += [
        f'  {_node("root", name(root))}["root {name(root)}<br/>not trusted"]:::absent'
        for root in above
        if root not in shown.trust
    ]
    for issuer in issuers:
        signs = issuer == shown.signer.identity
        node, role = _node("issuer", name(issuer)), "signs" if signs else "in the chain only"
        lines.append(f'  {_node("root", name(roots[issuer]))} --> {node}["issuer {name(issuer)}"]')
        lines.append(f"  {node} {'==>' if signs else '-.-'}|{role}| leaf")
        if signs:
            lines.append(f"  class {node} signer")
    lines.append('  leaf(["new workload leaves"])')
    lines.append("  classDef signer stroke-width:3px")
    lines.append("  classDef absent stroke-dasharray:4")
    return "\n".join(lines)


def _node(kind: str, name: str) -> str:
    return f"{kind}_{name.replace('-', '_')}"


def phases(active: str, active_root: str, following: str, following_root: str) -> dict[Phase, str]:
    """The picture of each phase of one rotation, from names alone."""
    old = Intermediate(active, active_root)
    new = Intermediate(following, following_root)
    roots = {active: active_root, following: following_root}
    return {
        phase: chain_of_trust(posture(phase, old, new), roots, lambda identity: identity)
        for phase in Phase
    }
