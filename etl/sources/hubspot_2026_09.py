"""HubSpot CRM by its dated paths, version 2026-09: the streams of `hubspot`, asked at /crm/objects/2026-09/...

API: https://developers.hubspot.com/docs/api-reference/latest/crm. Activate this or `hubspot`, not both: they are the
same records. The path of associations follows the pattern of 2026-03 and is not verified against the live API.
"""

from __future__ import annotations

from etl.sources.hubspot import hubspot

SOURCE = hubspot(
    "hubspot_2026_09",
    "HubSpot CRM (2026-09)",
    objects="/crm/objects/2026-09",
    associations="/crm/associations/2026-09",
)
