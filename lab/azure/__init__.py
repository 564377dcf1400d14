"""The stand-in for Azure: ARM, Key Vault and AKS, behind the plug-in `azure-native`."""
