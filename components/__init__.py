"""The program's Pulumi components: each one noun of the article, each only wiring."""
