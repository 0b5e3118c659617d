"""The expectation suites of the validated tables: generated from the contract, judged by Great Expectations."""

from fraud_platform.transactions.expectations.label_suite import check_labels
from fraud_platform.transactions.expectations.results import Check, Limits, SuiteResult
from fraud_platform.transactions.expectations.transaction_suite import check_transactions

__all__ = ["Check", "Limits", "SuiteResult", "check_labels", "check_transactions"]
