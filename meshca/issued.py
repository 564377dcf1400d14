"""A plan meets its certificates: the secrets, the bundle and the ledger, once all are known."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from cryptography import x509

from meshca import bundle, certificates, evidence, secrets
from meshca.ca_rules import Key
from meshca.ledger import Access, Attempt, Ledger, Record, Restarts, advance, pending_attempt
from meshca.plan import Plan
from meshca.refusals import Refusal, Refused, iso
from meshca.rotation import Identity

WRITTEN = "written"
"""The tag that says which `up` wrote a secret last: the moment at which its plan was made."""


class Issued:
    """A plan together with the certificates of its roots and issuers."""

    def __init__(self, plan: Plan, pems: Mapping[str, str]) -> None:
        """`pems` maps the names of roots and issuers to their certificates.

        A secret needs those that it is about, the judgement those of the posture, the ledger all.
        """
        self.plan = plan
        self.certificates: Mapping[Identity, x509.Certificate] = {
            member.identity: certificates.parse_certificate(pems[member.name], where=member.name)
            for member in plan.members.values()
            if member.name in pems
        }

    def records(self) -> Mapping[Identity, Record]:
        """Every root and issuer as the ledger keeps it."""
        return {
            identity: Record(
                certificates.reference(member.name, self.certificates[identity]),
                member.root,
                evidence.serial(self.certificates[identity]),
            )
            for identity, member in self.plan.members.items()
        }

    def secret(
        self, name: str, *, recorded: Attempt | None, ledger: Ledger | None
    ) -> secrets.Secret:
        """One of the four secrets as it is to be written.

        Needs the certificates that it is about, and no others. Raises Refused when the attempt on
        record is not this plan's: then the state would not know what a failing `up` may have
        started (`--target` without the record does that).
        """
        if self.plan.moves and recorded != self.plan.attempt:
            raise Refused([_not_recorded(self.plan)])
        members = secrets.holds(self.plan.posture)[name]
        found = secrets.describe(name, [self._named(identity) for identity in members])
        written = self._written(name, ledger, recorded)
        return replace(found, tags={**found.tags, WRITTEN: written})

    def _written(self, name: str, ledger: Ledger | None, recorded: Attempt | None) -> str:
        """The tag WRITTEN of a secret: as it was, unless the vault may hold something else by now.

        An `up` that was killed between a write and the record of it leaves a vault that the state
        knows nothing of. So everything that a move, or an interrupted attempt at one, may have
        changed is written anew, whatever the state says: finishing and taking back are safe alike.
        """
        before = ledger.written.get(name) if ledger else None
        pending = pending_attempt(ledger, recorded)
        postures = [self.plan.posture, *(one.posture for one in (ledger, pending) if one)]
        if before is None or len({secrets.holds(posture)[name] for posture in postures}) > 1:
            return iso(self.plan.made_at)
        return before

    def text(self, name: str) -> str:
        """The text of one of the three secrets that hold certificates. `judge` judges it."""
        members = secrets.holds(self.plan.posture)[name]
        return bundle.text([self.certificates[identity] for identity in members])

    def judge(self, *, key: str | None, ledger: Ledger | None) -> None:
        """Raises Refused for whatever istiod or a peer would not take of the four files.

        Also when a certificate in use was replaced behind the program's back. Needs all
        certificates of the posture. `key` is None when somebody else writes it.
        """
        self._refuse_replaced(ledger)
        posture = self.plan.posture
        made = bundle.make(
            trust=[self.certificates[identity] for identity in posture.trust],
            signer=self.certificates[posture.signer.identity],
            chain=[self.certificates[identity] for identity in posture.chain],
            key=None if key is None else _parse_key(key),
        )
        if refusals := bundle.refusals(made, now=self._judged_at(), leaf_ttl=self.plan.outlives):
            raise Refused(refusals)

    def _judged_at(self) -> datetime:
        """When the plan was judged, or when the last of what this `up` generated began: an RSA
        key alone takes seconds, and pulumi-tls lets a certificate begin when it is made."""
        members = self.plan.members
        generated = [
            self.certificates[identity].not_valid_before_utc
            for identity in self.plan.posture.members()
            if members[identity].certificate is None
        ]
        return max([self.plan.judged_at, *generated])

    def ledger(
        self,
        ledger: Ledger | None,
        *,
        written: Mapping[str, Mapping[str, str]],
        expected: Mapping[str, secrets.Secret],
        recorded: Attempt | None,
        access: Access | None,
        mesh: bool,
        now: datetime,
        restarts: Restarts | None = None,
    ) -> Ledger | None:
        """The ledger after this `up`, judged by what the secrets say they hold.

        When they do not all hold the plan's posture (a targeted `up`), the ledger keeps the old
        one and says `mixed`; None when there was none.
        """
        if any(written[name] != secret.tags for name, secret in expected.items()):
            return ledger.with_mixed(self.plan.stance) if ledger else None
        return advance(
            ledger,
            now=now,
            stance=self.plan.stance,
            posture=self.plan.posture,
            pace=self.plan.pace,
            records=self.records(),
            access=access,
            mesh=mesh,
            attempt=recorded,
            override=self.plan.override,
            written={name: tags[WRITTEN] for name, tags in written.items()},
            restarts=restarts,
            uncertain=self.plan.uncertain,
            external=self.plan.external,
            key_written=self.plan.key_written,
        )

    def shown(self) -> evidence.Expected | None:
        """What every istiod shows once it has taken the posture.

        None when its log cannot show it: it tells signers by subject only, and another issuer in
        the chain has the subject of the one that signs.
        """
        posture = self.plan.posture
        signer = self.certificates[posture.signer.identity]
        chain = [self.certificates[identity] for identity in posture.chain]
        if not evidence.told_apart(signer, chain):
            return None

        def named(identity: Identity, mark: str) -> evidence.Named:
            return evidence.Named(self.plan.named(identity), mark)

        return evidence.Expected(
            trust=tuple(
                named(identity, certificates.fingerprint(self.certificates[identity]))
                for identity in posture.trust
            ),
            signer=named(posture.signer.identity, evidence.serial(signer)),
            chain=tuple(
                named(identity, evidence.serial(certificate))
                for identity, certificate in zip(posture.chain, chain, strict=True)
            ),
        )

    def _named(self, identity: Identity) -> secrets.Named:
        return secrets.Named(self.plan.named(identity), self.certificates[identity])

    def _refuse_replaced(self, ledger: Ledger | None) -> None:
        for identity in sorted(self.plan.posture.members()):
            record = ledger.records.get(identity) if ledger else None
            certificate = self.certificates[identity]
            if record is not None and record.certificate.sha256 != certificates.fingerprint(
                certificate
            ):
                raise Refused(
                    [
                        Refusal(
                            "replaced",
                            f"the generated certificate of {record.certificate.name} is not the "
                            "one the ledger recorded",
                            "Restore it with `pulumi stack import` of an earlier state, or give "
                            "the new one a name of its own and rotate to it.",
                            (
                                record.certificate,
                                certificates.reference(record.certificate.name, certificate),
                            ),
                        )
                    ]
                )


def key_text(key: str) -> str:
    """The text of `ca-key` for a private key in PEM, in whichever form it was given."""
    return certificates.encode_key(_parse_key(key))


def _parse_key(key: str) -> Key:
    """The signing issuer's private key. Raises Refused, without its text."""
    return certificates.parse_key(key, where="the signing issuer's key")


def _not_recorded(plan: Plan) -> Refusal:
    return Refusal(
        "not-recorded",
        f"the move to `{plan.stance}` is not on record, so no secret may be written",
        "Run `pulumi up` without `--target`, or add the target "
        "`--target '**pulumi:index:Stash::rotation-attempt'`.",
    )
