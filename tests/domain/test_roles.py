"""The table of roles, written out a second time as the people in charge would read it."""

import pytest

from tasks.domain.roles import ACTS, Act, Role, allowed, decided_as, deciders, may

_PROCEDURES = [
    *("", "api_service", "audit_trail", "breach", "breach_of_contract"),
    *("privacy_engine", "privacy_incident", "Privacy"),
]
_FOR_ALL_BUT_VIEWERS = {
    Act.ACKNOWLEDGE,
    Act.NOTE,
    Act.LEAD,
    Act.DECLARE,
    Act.CHANGE_SEVERITY,
    Act.CLOSE,
    Act.HOLD,
    Act.REVIEW,
}
_OF_THE_ANSWERABLE = {
    *(Act.LIFT, Act.BREAK_GLASS, Act.PUBLISH),
    *(Act.SIGN_OFF, Act.JUDGE_COMPLIANCE),
}
_ANSWERABLE = {Role.APPROVER, Role.PRIVACY_OFFICER, Role.SECURITY}


def expected(role: Role, act: Act, procedure: str) -> bool:
    if act is Act.READ:
        return True
    if act in _FOR_ALL_BUT_VIEWERS:
        return role is not Role.VIEWER
    if act in _OF_THE_ANSWERABLE:
        return role in _ANSWERABLE
    if act in {Act.STOP_CLOCK, Act.JUDGE_BREACH}:
        return role is Role.PRIVACY_OFFICER
    if act in {Act.JUDGE_ISOLATION, Act.LIFT_UNSEALED}:
        return role is Role.SECURITY or (role is Role.APPROVER and act is Act.JUDGE_ISOLATION)
    is_privacy = procedure in {"privacy_engine", "privacy_incident"}
    by_engineers = role is Role.APPROVER or (role is Role.SECURITY and procedure == "breach")
    return role is Role.PRIVACY_OFFICER if is_privacy else by_engineers


@pytest.mark.parametrize("role", Role)
def test_every_cell_of_the_table_is_as_agreed(role: Role) -> None:
    cells = [(act, procedure) for act in Act for procedure in _PROCEDURES]
    found = {cell: may(role, *cell) for cell in cells}
    assert found == {cell: expected(role, *cell) for cell in cells}


def test_roles_are_spelled_as_the_command_takes_them() -> None:
    assert [*Role] == ["viewer", "responder", "approver", "privacy-officer", "security"]


def test_a_refusal_names_all_roles_that_may_and_no_other() -> None:
    assert [*allowed(Act.READ)] == [*Role]
    assert {*allowed(Act.DECIDE)} == _ANSWERABLE
    for act in Act:
        assert {*allowed(act)} == {role for role in Role if act in ACTS[role]}


def test_a_plan_about_personal_data_is_the_privacy_officers_in_every_incident() -> None:
    for incident in _PROCEDURES:
        assert deciders(decided_as(incident, "privacy_engine")) == {Role.PRIVACY_OFFICER}
        assert decided_as(incident, "database_recovery") == incident


@pytest.mark.parametrize("procedure", _PROCEDURES)
def test_every_procedure_has_somebody_who_decides(procedure: str) -> None:
    assert {role for role in Role if may(role, Act.DECIDE, procedure)} == deciders(procedure)
    assert deciders(procedure)
