"""Builders that tests share: raw images, federations, run folders, simulated sites, swarms."""
