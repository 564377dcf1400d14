"""What an `up` sets out to write, recorded before the first secret."""

import pulumi

from components.refusing import refusing
from meshca.ledger import Attempt, Ledger
from meshca.ledger_reading import parse_attempt
from meshca.plan import Plan, unfinished
from meshca.refusals import Refused


class AttemptRecord(pulumi.ComponentResource):
    """Keeps the attempted move in the state, so that an interrupted `up` is not forgotten.

    While the plan's posture is already in force, whatever an interrupted `up` recorded stays: the
    ledger of this `up` takes it into its window.
    """

    recorded: pulumi.Output[Attempt | None]
    """The attempt as it stands in the state; known in previews too."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        ledger: Ledger | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("aks-istio-ca:index:AttemptRecord", name, None, opts)

        @refusing()
        def refuse_over_another(change: pulumi.ResourceHookArgs) -> None:
            before, after = (
                parse_attempt((inputs or {}).get("input"))
                for inputs in (change.old_inputs, change.new_inputs)
            )
            refusal = unfinished(ledger, before, after or plan.attempt)
            if refusal is not None:
                raise Refused([refusal])

        hook = pulumi.ResourceHook(
            f"{name}-unfinished", refuse_over_another, pulumi.ResourceHookOptions(on_dry_run=True)
        )
        stash = pulumi.Stash(
            name,
            input=plan.attempt.as_json(),
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=[] if plan.moves else ["input"],
                hooks=pulumi.ResourceHookBinding(before_update=[hook]),
            ),
        )
        self.recorded = stash.input.apply(refusing()(parse_attempt))
        self.register_outputs({})
