from models.errors import DqError


def subclasses(cls: type) -> list[type]:
    return [each for child in cls.__subclasses__() for each in (child, *subclasses(child))]


def test_every_error_has_an_exit_code_other_than_0():
    codes = {error.__name__: error.exit_code for error in [DqError, *subclasses(DqError)]}

    assert codes["UsageError"] == 2
    assert codes["BrokerUnreachable"] == codes["DatabaseUnreachable"] == 3
    assert codes["WaitTimedOut"] == 124
    assert 0 not in codes.values()
