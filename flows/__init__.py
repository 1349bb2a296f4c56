"""When and where the stages run: the Prefect flow, the DVC ledger, the command line."""
