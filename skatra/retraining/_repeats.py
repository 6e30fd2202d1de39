"""What a run that was made before, or killed, leaves to the next."""

from skatra.datasets import Database
from skatra.retraining._evidence import Evidence
from skatra.retraining._ledger import DatabaseLedger
from skatra.retraining._registry import Champion


def count_trials(
    db: Database,
    ledger: DatabaseLedger,
    served: Champion | None,
    inputs: str,
    evidence: Evidence,
) -> dict[str, int]:
    """Return the trials made until now, or when this run met the same model before.

    A run that is repeated is the same run, whatever was tried since; against another
    model it is judged anew, after all trials until then.
    """
    wanted = {"inputs_sha256": inputs, **evidence.met}
    cards = list(db.runs()["card"])
    if served is not None:  # whose run may have been killed before it was recorded
        cards.append(served.card)
    for card in cards:
        if "trials" in card and all(card.get(k) == v for k, v in wanted.items()):
            return dict(card["trials"])
    return ledger.count()


def record_served_run(db: Database, served: Champion | None, inputs: str) -> None:
    """Record the run of the served model that was killed before it could.

    One of these inputs is repeated; one of another database is not recorded here.
    """
    if served is None or served.card.get("inputs_sha256") in (None, inputs):
        return
    made_here = len(db.trials(served.card["lineage"]["data_sha256"])) > 0
    if made_here and served.run_id not in db.runs().index:
        db.write_run(served.run_id, served.card)
