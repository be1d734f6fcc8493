"""Everything that talks to Shopify."""
