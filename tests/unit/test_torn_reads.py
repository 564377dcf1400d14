"""What a poll can read while an `up` writes: whole, or refused by an istiod that runs.

The driver reads the four secrets one after the other, in any order; the program writes them one
after the other, in `WRITE_ORDER`. Every interleaving of the two is enumerated, with real
certificates, for every step of a root rotation and of an intermediate rotation, both ways.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations, pairwise, permutations

import pytest
from cryptography import x509

from meshca import bundle
from meshca.bundle import CA_CERT, CA_KEY, CERT_CHAIN, ROOT_CERT
from meshca.certificates import encode, parse_certificates, parse_key
from meshca.paths import TRUST_DOMAIN
from meshca.rotation import Intermediate, Phase, Posture, posture, trust_moves_one_way
from meshca.secrets import WRITE_ORDER
from meshca.trial import trial_refusals
from meshca.x509_facts import is_signed_by
from tests.material import DAY, NOW, Authority, authority, key, key_text

Files = Mapping[str, str]

ROOTS = {"a1": "a", "a2": "a", "b1": "b"}
OLD = Intermediate("a1", "a")
ROTATIONS = {"root": Intermediate("b1", "b"), "intermediate": Intermediate("a2", "a")}
PHASES = tuple(Phase)
STEPS = [
    (kind, before, after)
    for kind in ROTATIONS
    for forward in pairwise(PHASES)
    for before, after in (forward, forward[::-1])
]


@cache
def made(name: str) -> Authority:
    """The root or the issuer of that name."""
    number = 1 + [*dict.fromkeys(ROOTS.values()), *ROOTS].index(name)
    under = made(ROOTS[name]) if name in ROOTS else None
    return authority(f"Torn {name}", under=under, private=key("P-256", 1000 + number))


def texts(of: Posture) -> Files:
    """The four files of a posture, as the program writes them."""
    signer = made(of.signer.identity)
    return bundle.make(
        trust=[made(root).certificate for root in of.trust],
        signer=signer.certificate,
        chain=[made(issuer).certificate for issuer in of.chain],
        key=parse_key(key_text(signer.key), where="the test"),
    ).texts()


def in_phase(kind: str, phase: Phase) -> Files:
    """The four files of a phase of the rotation from a1."""
    return texts(posture(phase, OLD, ROTATIONS[kind]))


def naive(kind: str, phase: Phase) -> Files:
    """The same with nothing but the signer in the chain file."""
    wanted = posture(phase, OLD, ROTATIONS[kind])
    return texts(Posture(wanted.trust, wanted.signer, (wanted.signer.identity,)))


def changed(before: Files, after: Files) -> list[str]:
    """The secrets that the program writes, in the order in which it does."""
    return [file for file in WRITE_ORDER if before[file] != after[file]]


def interleavings(before: Files, after: Files) -> Iterator[Files]:
    """What a poll has read at its end, for every order of its reads and of the writes between."""
    writes = changed(before, after)
    total = len(writes) + len(WRITE_ORDER)
    for reads in permutations(WRITE_ORDER):
        for places in combinations(range(total), len(writes)):
            vault, read = dict(before), {}
            writing, reading = iter(writes), iter(reads)
            for place in range(total):
                if place in places:
                    file = next(writing)
                    vault[file] = after[file]
                else:
                    file = next(reading)
                    read[file] = vault[file]
            yield read


def distinct(before: Files, after: Files) -> list[Files]:
    """Each set of files that a poll can read, once."""
    found = {tuple(read[file] for file in WRITE_ORDER) for read in interleavings(before, after)}
    return [dict(zip(WRITE_ORDER, texts, strict=True)) for texts in found]


def refused_at_start(files: Files) -> str:
    """Why an istiod does not start with these files; empty when it does (keycertbundle.go,
    Verify): the certificate must have its root in root-cert, and the key must be its own."""
    [signer] = parse_certificates(files[CA_CERT], where=CA_CERT)
    roots = parse_certificates(files[ROOT_CERT], where=ROOT_CERT)
    if not any(is_signed_by(signer, root) for root in roots):
        return "cannot verify the cert with the provided root chain"
    if parse_key(files[CA_KEY], where=CA_KEY).public_key() != signer.public_key():
        return "the cert does not match the key"
    return ""


def refused_when_running(held: Files, files: Files) -> str:
    """Why an istiod that holds one set does not take another (istio_ca.go, handleEvent): the one
    root-cert must contain the other, as text up to 1.29, as a set of certificates since 1.30."""
    old, new = held[ROOT_CERT], files[ROOT_CERT]
    old_set, new_set = (set(parse_certificates(text, where=ROOT_CERT)) for text in (old, new))
    if not (old in new or new in old) or not (old_set <= new_set or new_set <= old_set):
        return "updating new ROOT-CA not supported"
    return refused_at_start(files)


def unverifiable(files: Files, peers: Sequence[Files]) -> list[str]:
    """What a peer says that gets a leaf which an istiod signs with these files."""
    [signer] = parse_certificates(files[CA_CERT], where=CA_CERT)
    return [
        str(refusal)
        for peer in peers
        for refusal in trial_refusals(
            signer=signer,
            key=parse_key(files[CA_KEY], where=CA_KEY),
            chain=parse_certificates(files[CERT_CHAIN], where=CERT_CHAIN),
            roots=parse_certificates(peer[ROOT_CERT], where=ROOT_CERT),
            now=NOW,
            leaf_ttl=DAY,
            trust_domain=TRUST_DOMAIN,
        )
    ]


def broken(before: Files, after: Files) -> Iterator[Files]:
    """What a poll can read, a running istiod takes, and some peer cannot verify leaves from."""
    for read in distinct(before, after):
        taken = any(not refused_when_running(held, read) for held in (before, after))
        if taken and unverifiable(read, [before, after]):
            yield read


def described(files: Files, before: Files) -> str:
    """Which of the files are new, for the message of a failing test."""
    return ", ".join(
        f"{file} {'old' if files[file] == before[file] else 'new'}" for file in WRITE_ORDER
    )


@pytest.mark.parametrize(("kind", "start", "end"), STEPS)
def test_whatever_a_poll_reads_is_whole_or_refused(kind: str, start: Phase, end: Phase) -> None:
    """While a step is written, an istiod that holds the files of before or of after either refuses
    what it reads, or signs leaves from it that every peer of before and of after verifies."""
    before, after = in_phase(kind, start), in_phase(kind, end)
    assert [described(read, before) for read in broken(before, after)] == []


@pytest.mark.parametrize(("kind", "start", "end"), STEPS)
def test_an_istiod_that_starts_waits_inside_a_switch_only(
    kind: str, start: Phase, end: Phase
) -> None:
    """An istiod starts with whatever can be read, but for a key and a certificate of two issuers,
    which only the step between distribute and switch makes possible."""
    before, after = in_phase(kind, start), in_phase(kind, end)
    reasons = {refused_at_start(read) for read in distinct(before, after)}
    inside_a_switch = {start, end} == {Phase.DISTRIBUTE, Phase.SWITCH}
    assert reasons == ({"", "the cert does not match the key"} if inside_a_switch else {""})


@pytest.mark.parametrize(("kind", "start", "end"), STEPS)
def test_a_step_writes_two_files_at_most(kind: str, start: Phase, end: Phase) -> None:
    """Each step changes either trust and chain, or certificate and key, and nothing else."""
    written = set(changed(in_phase(kind, start), in_phase(kind, end)))
    assert written <= {ROOT_CERT, CERT_CHAIN} or written == {CA_CERT, CA_KEY}


@pytest.mark.parametrize("kind", ROTATIONS)
def test_the_finish_writes_nothing(kind: str) -> None:
    """`steady` of the new issuer is byte for byte what `retire` left."""
    assert in_phase(kind, Phase.RETIRE) == texts(posture(Phase.STEADY, ROTATIONS[kind]))


@pytest.mark.parametrize("kind", ROTATIONS)
def test_with_the_signer_alone_in_the_chain_the_switch_would_break(kind: str) -> None:
    """The chain file that the article describes holds the signer only: then some interleaving
    hands out leaves without their issuer. So the tests above can fail."""
    assert list(broken(naive(kind, Phase.DISTRIBUTE), naive(kind, Phase.SWITCH)))


def test_the_texts_of_roots_contain_one_another() -> None:
    """In both rotations a root is appended or dropped, never moved: istiod up to 1.29 looks for
    the one text in the other."""
    for kind, start, end in STEPS:
        one, other = (posture(phase, OLD, ROTATIONS[kind]).trust for phase in (start, end))
        assert trust_moves_one_way(one, other)
        old, new = in_phase(kind, start)[ROOT_CERT], in_phase(kind, end)[ROOT_CERT]
        assert old in new or new in old


# Break-glass: the intermediate is changed in one step


def one_step() -> tuple[Files, Files]:
    """`steady a1 -> steady a2`, which only an override admits."""
    return in_phase("intermediate", Phase.STEADY), in_phase("intermediate", Phase.RETIRE)


def prefixes(order: Sequence[str], before: Files, after: Files) -> Iterator[Files]:
    """The vault after each write but the last."""
    vault = dict(before)
    for file in order[:-1]:
        vault[file] = after[file]
        yield dict(vault)


def test_every_prefix_of_the_one_step_change_is_refused() -> None:
    """A poll between two writes of `steady a1 -> steady a2` finds a key that is not the
    certificate's, until the last write."""
    before, after = one_step()
    found = list(prefixes(changed(before, after), before, after))
    assert [refused_when_running(before, read) for read in found] == [
        "the cert does not match the key",
        "the cert does not match the key",
    ]


def test_only_orders_with_the_chain_between_key_and_certificate_are_refused_throughout() -> None:
    """Any other order of the three writes has a moment at which a running istiod takes a set from
    which nobody can verify leaves."""
    before, after = one_step()
    safe = {
        order
        for order in permutations(changed(before, after))
        if all(refused_when_running(before, read) for read in prefixes(order, before, after))
    }
    assert safe == {(CA_KEY, CERT_CHAIN, CA_CERT), (CA_CERT, CERT_CHAIN, CA_KEY)}


def test_a_poll_across_the_one_step_change_can_break_it() -> None:
    """A poll that reads the chain before and the certificate after the writes is taken, and its
    leaves cannot be verified: that is why the guard refuses the move without an override."""
    before, after = one_step()
    torn = {**after, CERT_CHAIN: before[CERT_CHAIN]}
    assert torn in list(broken(before, after))


def test_what_the_one_step_change_ends_in_is_whole() -> None:
    """After the last write an istiod takes the new set, and peers that trust the root verify it."""
    before, after = one_step()
    assert not refused_when_running(before, after)
    assert not unverifiable(after, [before, after])


# The judges themselves


def test_one_root_for_another_is_refused_while_running_and_taken_at_a_start() -> None:
    """An istiod that runs does not take `steady a1 -> steady b1`; one that starts does."""
    before = in_phase("root", Phase.STEADY)
    after = in_phase("root", Phase.RETIRE)
    assert refused_when_running(before, after) == "updating new ROOT-CA not supported"
    assert not refused_at_start(after)


def test_a_certificate_is_always_the_same_bytes() -> None:
    """What root-cert held before stands unchanged at its beginning after a root was appended."""
    certificate: x509.Certificate = made("a").certificate
    assert in_phase("root", Phase.DISTRIBUTE)[ROOT_CERT].startswith(encode(certificate))
